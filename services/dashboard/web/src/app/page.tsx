/** The frame of one view: title, actions and content. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { path } from "./router.js";

interface PageProps {
  /** Title of the browser's tab, and of the view if `heading` is not set. */
  readonly title: string;
  readonly heading?: ComponentChildren;
  /** Buttons beside the title. */
  readonly actions?: ComponentChildren;
  /** True = the content fills the window and scrolls inside. */
  readonly fill?: boolean;
  readonly children: ComponentChildren;
}

// The first view keeps the focus where the browser puts it.
const firstPath = path.peek();
let shownPath = firstPath;

/** The main part of the page. A view with another path gets the focus on its heading, so that screen readers read it. */
export function Page({ title, heading, actions, fill = false, children }: PageProps) {
  const headline = useRef<HTMLHeadingElement>(null);
  const current = path.value;
  useEffect(() => {
    document.title = `${title} · jobworker`;
  }, [title]);
  useEffect(() => {
    // A view that replaces another one of the same path, such as the one that waited for the job, takes its focus away.
    const isFocusLost = document.activeElement === document.body && current !== firstPath;
    if (shownPath !== current || isFocusLost) {
      shownPath = current;
      headline.current?.focus();
    }
  }, [current]);
  return (
    <main id="main" class={fill ? "page fill" : "page"} tabIndex={-1}>
      <div class="page-head">
        <h1 ref={headline} tabIndex={-1}>
          {heading ?? title}
        </h1>
        {actions && <div class="page-actions">{actions}</div>}
      </div>
      {children}
    </main>
  );
}
