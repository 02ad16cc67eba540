/** The dialog that lists the keyboard shortcuts. */
import { signal } from "@preact/signals";
import { Button } from "../ui/button.js";
import { Dialog } from "../ui/dialog.js";
import { groups, keysOf, useKeys } from "./keys.js";

const open = signal(false);

/** Opens the dialog. */
export function showKeyHelp(): void {
  open.value = true;
}

/** The dialog, when it is open, and the shortcut `?`. */
export function KeyHelp() {
  useKeys("Everywhere", [{ keys: "?", help: "Show the keyboard shortcuts", run: showKeyHelp }]);
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
                    <kbd key={key}>{key}</kbd>
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
