/** A list with many rows of the same height, of which only the visible ones exist. */
import type { ComponentChildren, CSSProperties, HTMLAttributes } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

// The rows change only after a scroll by so many of them. More rows than that exist beyond the edges, so that a fast
// scroll does not show empty space.
const STEP = 5;
const OVERSCAN = 8;

interface VirtualRowsProps {
  /** The keys of the rows, in their order. */
  readonly keys: readonly string[];
  /** Another id = another list, which is shown from its start. */
  readonly listId: string;
  readonly rowHeight: number;
  /** Key of the row to scroll to when it changes. Empty = none. */
  readonly reveal: string;
  /** Returns a row. It must pass `style` to its element. */
  readonly renderRow: (index: number, style: CSSProperties) => ComponentChildren;
  /** The heading, which stays at the top. */
  readonly head: ComponentChildren;
  readonly attributes: HTMLAttributes<HTMLDivElement>;
  /** Keeps the scroll position while the list is not shown. */
  readonly position: { top: number };
}

/** A scrolling element with the rows in view. */
export function VirtualRows(props: VirtualRowsProps) {
  const { keys, listId, rowHeight, reveal, renderRow, head, attributes, position } = props;
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ first: 0, height: 0 });

  useLayoutEffect(() => {
    const element = box.current;
    if (!element) {
      return;
    }
    const measure = () => {
      position.top = element.scrollTop;
      const first = Math.floor(element.scrollTop / rowHeight / STEP) * STEP;
      const height = element.clientHeight;
      setView((old) => (old.first === first && old.height === height ? old : { first, height }));
    };
    element.scrollTop = position.top;
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    element.addEventListener("scroll", measure, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", measure);
    };
  }, [position, rowHeight]);

  // Rows that are added above the visible ones do not move them, except at the top of the list.
  const shown = useRef({ keys, listId });
  useLayoutEffect(() => {
    const element = box.current;
    const index = Math.floor(position.top / rowHeight);
    const anchor = shown.current.keys[index];
    const next = anchor ? keys.indexOf(anchor) : -1;
    if (element && shown.current.listId !== listId) {
      element.scrollTop = 0;
    } else if (element && shown.current.keys !== keys && position.top > 0 && next >= 0) {
      element.scrollTop += (next - index) * rowHeight;
    }
    shown.current = { keys, listId };
  }, [keys, listId, rowHeight, position]);

  useEffect(() => {
    const element = box.current;
    const index = keys.indexOf(reveal);
    if (element && index >= 0) {
      const headHeight = (element.firstElementChild as HTMLElement).offsetHeight;
      const top = index * rowHeight;
      const room = element.clientHeight - headHeight - rowHeight;
      element.scrollTop = Math.max(top - room, Math.min(top, element.scrollTop));
    }
    // Only a new key scrolls: other changes of the rows must not.
  }, [reveal]);

  const first = Math.max(0, view.first - OVERSCAN);
  const last = Math.min(keys.length, view.first + Math.ceil(view.height / rowHeight) + STEP + OVERSCAN);
  const rows = [];
  for (let index = first; index < last; index += 1) {
    rows.push(
      renderRow(index, { height: `${rowHeight}px`, transform: `translateY(${index * rowHeight}px)` }),
    );
  }
  return (
    <div {...attributes} ref={box}>
      {head}
      <div class="rows" role="rowgroup" style={{ height: `${keys.length * rowHeight}px` }}>
        {rows}
      </div>
    </div>
  );
}
