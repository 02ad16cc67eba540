/** What a view shows if it has nothing to show. */
import type { ComponentChildren } from "preact";

/** A title, and below it what the user can do. */
export function EmptyState({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <h2>{title}</h2>
      {children}
    </div>
  );
}
