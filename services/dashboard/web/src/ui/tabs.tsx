/** A row of tabs. Arrow keys move between them. */

interface TabsProps<Id extends string> {
  /** The accessible name of the row. */
  readonly label: string;
  readonly tabs: readonly { readonly id: Id; readonly text: string }[];
  readonly current: Id;
  readonly onSelect: (id: Id) => void;
}

/** The tabs. The panel is the caller's: an element with `role="tabpanel"` and `aria-labelledby={tabId(current)}`. */
export function Tabs<Id extends string>({ label, tabs, current, onSelect }: TabsProps<Id>) {
  const move = (event: KeyboardEvent) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined) {
      return;
    }
    const index = tabs.findIndex((tab) => tab.id === current);
    const next = tabs[(index + step + tabs.length) % tabs.length];
    if (next) {
      event.preventDefault();
      onSelect(next.id);
      document.getElementById(tabId(next.id))?.focus();
    }
  };
  return (
    <div class="tabs" role="tablist" aria-label={label} onKeyDown={move}>
      {tabs.map((tab) => (
        <button
          key={tab.id}
          id={tabId(tab.id)}
          type="button"
          role="tab"
          class="tab"
          aria-selected={tab.id === current}
          tabIndex={tab.id === current ? 0 : -1}
          onClick={() => onSelect(tab.id)}
        >
          {tab.text}
        </button>
      ))}
    </div>
  );
}

/** Returns the id of the element of a tab. */
export function tabId(id: string): string {
  return `tab-${id}`;
}
