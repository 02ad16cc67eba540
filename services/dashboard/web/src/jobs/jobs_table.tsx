/** The table of jobs. */
import type { Job } from "@jobworker/client/browser";
import { useMemo, useState } from "preact/hooks";
import { Icon } from "../ui/icons.js";
import { JobRow } from "./job_row.js";
import { type Column, formatOrder, nextOrder, type Order } from "./order.js";
import type { Selection } from "./selection.js";
import { UnenforcedDialog } from "./unenforced_dialog.js";
import { useMedia } from "./use_media.js";
import { VirtualRows } from "./virtual_rows.js";
import "./jobs_table.css";

const ROW_HEIGHT = 36;
const NARROW_ROW_HEIGHT = 66;

const HEADINGS: readonly { readonly column: Column; readonly text: string }[] = [
  { column: "status", text: "Status" },
  { column: "command", text: "Command" },
  { column: "owner", text: "Owner" },
  { column: "node", text: "Node" },
  { column: "created", text: "Created" },
  { column: "duration", text: "Duration" },
  { column: "output", text: "Output" },
];

// The table keeps its place while the user looks at a job.
const position = { top: 0 };

interface JobsTableProps {
  readonly jobs: readonly Job[];
  /** Text that is different for other filters. */
  readonly filterKey: string;
  /** True = there is a column for the nodes. */
  readonly hasNodes: boolean;
  readonly order: Order;
  readonly onOrder: (order: Order) => void;
  /** Id of the row that the keyboard acts on. */
  readonly current: string;
  readonly onCurrent: (id: string) => void;
  /** Undefined = the user cannot select jobs. */
  readonly selection: Selection | undefined;
  /** True = the rows are those of an earlier filter. */
  readonly busy: boolean;
}

/** The jobs in rows, of which only the visible ones exist in the document. */
export function JobsTable(props: JobsTableProps) {
  const { jobs, filterKey, hasNodes, order, onOrder, current, onCurrent, selection, busy } = props;
  const isNarrow = useMedia("(max-width: 760px)");
  const [explained, setExplained] = useState<Job>();
  const keys = useMemo(() => jobs.map((job) => job.id), [jobs]);
  const selected = selection?.ids.value;
  return (
    <>
      <VirtualRows
        keys={keys}
        listId={`${filterKey} ${formatOrder(order)}`}
        rowHeight={isNarrow ? NARROW_ROW_HEIGHT : ROW_HEIGHT}
        reveal={current}
        position={position}
        attributes={{
          role: "grid",
          class: `jobs-table panel${selection ? " selectable" : ""}${hasNodes ? " with-nodes" : ""}`,
          "aria-label": "Jobs",
          "aria-rowcount": jobs.length + 1,
          "aria-busy": busy,
        }}
        head={
          <div role="rowgroup" class="table-head">
            <div role="row" aria-rowindex={1} class="row">
              {selection && <SelectAll jobs={jobs} selection={selection} />}
              {HEADINGS.filter(({ column }) => hasNodes || column !== "node").map(({ column, text }) => (
                <Heading key={column} column={column} text={text} order={order} onOrder={onOrder} />
              ))}
            </div>
          </div>
        }
        renderRow={(index, style) => {
          const job = jobs[index];
          return (
            job && (
              <JobRow
                key={job.id}
                job={job}
                index={index}
                style={style}
                hasNode={hasNodes}
                isCurrent={job.id === current}
                selected={selected?.has(job.id)}
                onSelect={(id, on) => selection?.set([id], on)}
                onFocus={onCurrent}
                onShowUnenforced={setExplained}
              />
            )
          );
        }}
      />
      {explained && <UnenforcedDialog job={explained} onClose={() => setExplained(undefined)} />}
    </>
  );
}

function SelectAll({ jobs, selection }: { jobs: readonly Job[]; selection: Selection }) {
  const count = selection.ids.value.size;
  const select = (selected: boolean) =>
    selection.set(
      jobs.map((job) => job.id),
      selected,
    );
  return (
    <div role="columnheader" class="cell-select">
      <input
        type="checkbox"
        aria-label="Select all jobs"
        checked={count > 0 && count === jobs.length}
        indeterminate={count > 0 && count < jobs.length}
        onChange={(event) => select(event.currentTarget.checked)}
      />
    </div>
  );
}

interface HeadingProps {
  readonly column: Column;
  readonly text: string;
  readonly order: Order;
  readonly onOrder: (order: Order) => void;
}

function Heading({ column, text, order, onOrder }: HeadingProps) {
  const isSorted = order.column === column;
  const direction = order.descending ? "descending" : "ascending";
  return (
    <div role="columnheader" class={`cell-${column}`} aria-sort={isSorted ? direction : "none"}>
      <button type="button" class="cell-button heading" onClick={() => onOrder(nextOrder(order, column))}>
        {text}
        {isSorted && <Icon name={order.descending ? "down" : "up"} />}
      </button>
    </div>
  );
}
