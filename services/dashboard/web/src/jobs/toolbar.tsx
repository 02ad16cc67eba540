/** The filters above the jobs table. Each change is a change of the address. */
import { JobStatus } from "@jobworker/client/browser";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { setQuery } from "../app/router.js";
import { user } from "../app/session.js";
import { Button } from "../ui/button.js";
import { Icon } from "../ui/icons.js";
import { printable } from "../ui/printable.js";
import { STATUSES, statusStyle } from "../ui/status.js";
import { commonName } from "../ui/subject.js";
import {
  type Filters,
  filterQuery,
  formatLabel,
  isFiltered,
  NO_FILTERS,
  PERIODS,
  parseLabel,
} from "./filters.js";
import "./toolbar.css";

const TYPING_MS = 250;

const PERIOD_NAMES: ReadonlyMap<string, string> = new Map([
  ["15m", "Last 15 minutes"],
  ["1h", "Last hour"],
  ["24h", "Last 24 hours"],
  ["7d", "Last 7 days"],
]);

const BETWEEN = "between";

/** Id of the search field, for the shortcut that focuses it. */
export const SEARCH_ID = "filter-jobs";

interface ToolbarProps {
  readonly filters: Filters;
  /** The owners of the known jobs. */
  readonly owners: readonly string[];
  /** The labels of the known jobs, as `KEY=VALUE`. */
  readonly labels: readonly string[];
  /** The nodes of the known jobs. */
  readonly nodes: readonly string[];
}

/** The filters. On narrow screens, those below the search field are hidden until the user opens them. */
export function Toolbar({ filters, owners, labels, nodes }: ToolbarProps) {
  const [open, setOpen] = useState(false);
  const details = useId();
  return (
    <search class="toolbar">
      <SearchField text={filters.text} />
      <button
        type="button"
        class="button toolbar-more"
        aria-expanded={open}
        aria-controls={details}
        onClick={() => setOpen(!open)}
      >
        <Icon name="filter" />
        Filters
      </button>
      <div id={details} class={open ? "toolbar-details open" : "toolbar-details"}>
        <StatusFilter statuses={filters.statuses} />
        <OwnerFilter owner={filters.owner} owners={owners} />
        <NodeFilter node={filters.node} nodes={nodes} />
        <PeriodFilter filters={filters} />
        <LabelFilter filters={filters} labels={labels} />
        {isFiltered(filters) && (
          <Button kind="quiet" icon="close" onClick={clearFilters}>
            Clear filters
          </Button>
        )}
      </div>
    </search>
  );
}

/** Shows all jobs. */
export function clearFilters(): void {
  setQuery(filterQuery(NO_FILTERS));
}

function change(filters: Partial<Filters>): void {
  setQuery(filterQuery(filters));
}

function SearchField({ text }: { text: string }) {
  const field = useRef<HTMLInputElement>(null);
  const timer = useRef(0);
  // The address can change by itself: the back button, or a click on "Clear filters".
  useEffect(() => {
    if (field.current && field.current !== document.activeElement) {
      field.current.value = text;
    }
  }, [text]);
  const apply = (value: string) => {
    clearTimeout(timer.current);
    setQuery(filterQuery({ text: value }), { replace: true });
  };
  return (
    <div class="search-field">
      <Icon name="search" />
      <input
        ref={field}
        id={SEARCH_ID}
        type="search"
        aria-label="Filter jobs"
        placeholder="Command or job id"
        title="Part of the command line (upper and lower case differ), or the start of a job id"
        spellcheck={false}
        defaultValue={text}
        onInput={(event) => {
          const { value } = event.currentTarget;
          clearTimeout(timer.current);
          timer.current = window.setTimeout(() => apply(value), TYPING_MS);
        }}
        onKeyDown={(event) => {
          if (event.key === "Enter" || event.key === "Escape") {
            apply(event.currentTarget.value);
            event.currentTarget.blur();
            event.preventDefault();
          }
        }}
      />
    </div>
  );
}

function StatusFilter({ statuses }: { statuses: readonly JobStatus[] }) {
  const toggle = (status: JobStatus) => {
    const others = statuses.filter((each) => each !== status);
    change({ statuses: others.length < statuses.length ? others : [...statuses, status] });
  };
  return (
    <fieldset class="status-filter">
      <legend class="visually-hidden">Status</legend>
      {STATUSES.filter((status) => status !== JobStatus.INITIALIZING).map((status) => (
        <button
          key={status}
          type="button"
          class={`status-toggle ${statusStyle(status).kind}`}
          aria-pressed={statuses.includes(status)}
          onClick={() => toggle(status)}
        >
          {statusStyle(status).name}
        </button>
      ))}
    </fieldset>
  );
}

function OwnerFilter({ owner, owners }: { owner: string; owners: readonly string[] }) {
  const own = user.value?.subject ?? "";
  const others = new Set([...owners, owner].filter((each) => each && each !== own));
  return (
    <select
      aria-label="Owner"
      value={owner}
      onChange={(event) => change({ owner: event.currentTarget.value })}
    >
      <option value="">All owners</option>
      <option value={own}>My jobs</option>
      {[...others].sort().map((each) => (
        <option key={each} value={each}>
          {printable(commonName(each))}
        </option>
      ))}
    </select>
  );
}

/** The nodes to choose from. Nothing if no job has a node. */
function NodeFilter({ node, nodes }: { node: string; nodes: readonly string[] }) {
  const all = [...new Set([...nodes, node])].filter(Boolean).sort();
  if (all.length === 0) {
    return null;
  }
  return (
    <select aria-label="Node" value={node} onChange={(event) => change({ node: event.currentTarget.value })}>
      <option value="">All nodes</option>
      {all.map((each) => (
        <option key={each} value={each}>
          {printable(each)}
        </option>
      ))}
    </select>
  );
}

function PeriodFilter({ filters: { period, from, to } }: { filters: Filters }) {
  const [between, setBetween] = useState(from !== "" || to !== "");
  const isBetween = period === "" && (between || from !== "" || to !== "");
  const select = (value: string) => {
    setBetween(value === BETWEEN);
    change(value === BETWEEN ? { period: "" } : { period: value, from: "", to: "" });
  };
  return (
    <>
      <select
        aria-label="Time of creation"
        value={isBetween ? BETWEEN : period}
        onChange={(event) => select(event.currentTarget.value)}
      >
        <option value="">Any time</option>
        {[...PERIODS.keys()].map((each) => (
          <option key={each} value={each}>
            {PERIOD_NAMES.get(each) ?? each}
          </option>
        ))}
        <option value={BETWEEN}>Between…</option>
      </select>
      {isBetween && (
        <>
          <DateField label="Created after" value={from} onChange={(value) => change({ from: value })} />
          <DateField label="Created before" value={to} onChange={(value) => change({ to: value })} />
        </>
      )}
    </>
  );
}

interface DateFieldProps {
  readonly label: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
}

function DateField({ label, value, onChange }: DateFieldProps) {
  return (
    <input
      type="datetime-local"
      aria-label={label}
      title={label}
      value={value}
      onChange={(event) => onChange(event.currentTarget.value)}
    />
  );
}

function LabelFilter({ filters, labels }: { filters: Filters; labels: readonly string[] }) {
  const options = useId();
  const set = filters.labels;
  const add = (field: HTMLInputElement) => {
    const text = field.value.trim();
    if (text.includes("=")) {
      change({ labels: [...set.filter((each) => formatLabel(each) !== text), parseLabel(text)] });
      field.value = "";
    }
  };
  return (
    <>
      <input
        class="label-field"
        aria-label="Label"
        placeholder="label=value"
        list={options}
        spellcheck={false}
        onChange={(event) => add(event.currentTarget)}
      />
      <datalist id={options}>
        {labels.map((each) => (
          <option key={each} value={each} />
        ))}
      </datalist>
      {set.map((label) => (
        <button
          key={formatLabel(label)}
          type="button"
          class="chip"
          aria-label={`Remove the label filter ${printable(formatLabel(label))}`}
          onClick={() => change({ labels: set.filter((each) => each !== label) })}
        >
          <span class="ellipsis">{printable(formatLabel(label))}</span>
          <Icon name="close" />
        </button>
      ))}
    </>
  );
}
