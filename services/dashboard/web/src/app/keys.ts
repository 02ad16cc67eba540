/** Keyboard shortcuts: views register them, and the help dialog lists the ones that work now. */
import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

/** One shortcut. */
export interface KeyBinding {
  /** The value of `KeyboardEvent.key`, such as `j`, `G` or `Enter`. Several keys can do the same. */
  readonly keys: string | readonly string[];
  /** The effect of the key, as a verb phrase for the help dialog. */
  readonly help: string;
  readonly run: () => void;
  /** True = the key works while a text field has the focus, too. */
  readonly inFields?: boolean;
}

interface KeyGroup {
  readonly title: string;
  bindings: readonly KeyBinding[];
}

/** The groups of shortcuts that work now. A later group takes a key from an earlier one. */
export const groups = signal<readonly KeyGroup[]>([]);

/** Makes shortcuts work while the component is mounted. `title` is their heading in the help dialog. */
export function useKeys(title: string, bindings: readonly KeyBinding[]): void {
  const group = useRef<KeyGroup>({ title, bindings });
  group.current.bindings = bindings;
  useEffect(() => {
    const own = group.current;
    groups.value = [...groups.peek(), own];
    return () => {
      groups.value = groups.peek().filter((each) => each !== own);
    };
  }, []);
}

/** Returns the keys of a binding as a list. */
export function keysOf({ keys }: KeyBinding): readonly string[] {
  return typeof keys === "string" ? [keys] : keys;
}

/** Finds the binding of a key. The last group that has the key wins. */
export function findBinding(
  active: readonly KeyGroup[],
  key: string,
  inField: boolean,
): KeyBinding | undefined {
  return active
    .flatMap((group) => group.bindings)
    .findLast((binding) => keysOf(binding).includes(key) && (!inField || binding.inFields));
}

// Space and Enter are left to the elements that they activate.
const ACTIVATE = new Set(["Enter", " "]);

function onKeyDown(event: KeyboardEvent): void {
  const target = event.target instanceof Element ? event.target : document.body;
  const activates = ACTIVATE.has(event.key) && target.closest("a, button, summary") !== null;
  const modified = event.ctrlKey || event.metaKey || event.altKey;
  // A dialog has the keys for itself. A terminal handles its keys in a text field.
  if (event.defaultPrevented || modified || activates || document.querySelector("dialog[open]")) {
    return;
  }
  const inField = target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]") !== null;
  const binding = findBinding(groups.peek(), event.key, inField);
  if (binding) {
    event.preventDefault();
    binding.run();
  }
}

/** Starts to listen for keys. */
export function listenForKeys(): void {
  document.addEventListener("keydown", onKeyDown);
}
