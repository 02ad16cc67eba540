/** Short messages about what has just happened. */
import { signal } from "@preact/signals";
import { IconButton } from "../ui/button.js";

const SHOWN_MS = 6000;

interface Notice {
  readonly id: number;
  readonly text: string;
  readonly kind: "ok" | "bad";
}

const notices = signal<readonly Notice[]>([]);
let lastId = 0;

/** Shows a message. Errors stay until the user closes them. */
export function notify(text: string, kind: Notice["kind"] = "ok"): void {
  lastId += 1;
  const notice = { id: lastId, text, kind };
  // The same error again, as from a repeated click, replaces the older one.
  notices.value = [...notices.peek().filter((each) => each.text !== text), notice];
  if (kind === "ok") {
    setTimeout(() => dismiss(notice.id), SHOWN_MS);
  }
}

function dismiss(id: number): void {
  notices.value = notices.peek().filter((each) => each.id !== id);
}

/** The messages, in a corner of the window. */
export function Notices() {
  return (
    <div class="notices" role="log" aria-label="Notifications">
      {notices.value.map(({ id, text, kind }) => (
        <div key={id} class={`notice ${kind}`} role={kind === "bad" ? "alert" : undefined}>
          <p>{text}</p>
          <IconButton label="Dismiss" icon="close" onClick={() => dismiss(id)} />
        </div>
      ))}
    </div>
  );
}
