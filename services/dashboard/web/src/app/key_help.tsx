/** The dialog that lists the keyboard shortcuts. */
import { signal } from "@preact/signals";
import { Button } from "../ui/button.js";
import { Dialog } from "../ui/dialog.js";
import { groups, keysOf, useKeys } from "./keys.js";
import { navigate } from "./router.js";
import { isAdmin } from "./session.js";

const SYMBOLS: ReadonlyMap<string, string> = new Map([
  ["ArrowDown", "↓"],
  ["ArrowUp", "↑"],
  ["ArrowLeft", "←"],
  ["ArrowRight", "→"],
  ["Escape", "Esc"],
  [" ", "Space"],
]);

const open = signal(false);

/** Opens the dialog. */
export function showKeyHelp(): void {
  open.value = true;
}

/** The dialog, when it is open, and the shortcuts that work on all pages. */
export function KeyHelp() {
  useKeys("All pages", [
    { keys: "?", help: "Show the keyboard shortcuts", run: showKeyHelp },
    ...(isAdmin.value ? [{ keys: "c", help: "Create a job", run: () => navigate("/create") }] : []),
  ]);
  if (!open.value) {
    return null;
  }
  const close = () => {
    open.value = false;
  };
  return (
    <Dialog title="Keyboard shortcuts" onClose={close}>
      {groups.value.map((group) => (
        <section key={group.title} class="key-group">
          <h3>{group.title}</h3>
          <dl>
            {group.bindings.map((binding) => (
              <div key={binding.help}>
                <dt>
                  {keysOf(binding).map((key) => (
                    <kbd key={key}>{SYMBOLS.get(key) ?? key}</kbd>
                  ))}
                </dt>
                <dd>{binding.help}</dd>
              </div>
            ))}
          </dl>
        </section>
      ))}
      <div class="dialog-buttons">
        <Button onClick={close}>Close</Button>
      </div>
    </Dialog>
  );
}
