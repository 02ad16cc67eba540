/** One row of the jobs table. */
import { type Job, timestampDate } from "@jobworker/client/browser";
import type { CSSProperties } from "preact";
import { Link } from "../app/link.js";
import { query, setQuery } from "../app/router.js";
import { shownCommand } from "../ui/command_line.js";
import { unenforced } from "../ui/enforcement.js";
import { formatBytes } from "../ui/format.js";
import { Icon } from "../ui/icons.js";
import { printable } from "../ui/printable.js";
import { isFinal } from "../ui/status.js";
import { StatusBadge } from "../ui/status_badge.js";
import { commonName } from "../ui/subject.js";
import { Duration, Time } from "../ui/time.js";
import { filterQuery, formatLabel, type Label } from "./filters.js";
import { liveJobs } from "./live_figures.js";

const SHOWN_LABELS = 2;

interface JobRowProps {
  readonly job: Job;
  /** Position in the whole table, from 0. */
  readonly index: number;
  readonly style: CSSProperties;
  /** True = the row has a cell for the node. */
  readonly hasNode: boolean;
  readonly isCurrent: boolean;
  /** Undefined = the user cannot select jobs. */
  readonly selected: boolean | undefined;
  readonly onSelect: (id: string, selected: boolean) => void;
  readonly onFocus: (id: string) => void;
  readonly onShowUnenforced: (job: Job) => void;
}

/** A job. A click anywhere on it opens the job, except on its buttons. */
export function JobRow(props: JobRowProps) {
  const { job, index, style, hasNode, isCurrent, selected, onSelect, onFocus, onShowUnenforced } = props;
  const live = liveJobs.value.get(job.id);
  const command = shownCommand(job.command, job.args);
  return (
    <div
      role="row"
      tabIndex={-1}
      class="row"
      style={style}
      data-id={job.id}
      aria-rowindex={index + 2}
      aria-selected={isCurrent}
      onFocusCapture={() => onFocus(job.id)}
    >
      {selected !== undefined && (
        <div role="gridcell" class="cell-select">
          <input
            type="checkbox"
            aria-label={`Select ${command}`}
            checked={selected}
            onChange={(event) => onSelect(job.id, event.currentTarget.checked)}
          />
        </div>
      )}
      <div role="gridcell" class="cell-status">
        <StatusBadge job={job} queuePosition={live?.queuePosition} />
      </div>
      <div role="gridcell" class="cell-command">
        <Link href={`/jobs/${job.id}`} class="row-link mono ellipsis" title={command}>
          {command}
        </Link>
        <UnenforcedMark job={job} onShow={onShowUnenforced} />
        <Labels labels={job.labels} />
      </div>
      <div role="gridcell" class="cell-owner">
        <button
          type="button"
          class="cell-button ellipsis"
          title={`Show only the jobs of ${printable(job.owner)}`}
          onClick={() => setQuery(filterQuery({ owner: job.owner }))}
        >
          {printable(commonName(job.owner))}
        </button>
      </div>
      {hasNode && (
        <div role="gridcell" class="cell-node">
          <button
            type="button"
            class="cell-button ellipsis"
            title={`Show only the jobs on ${printable(job.node)}`}
            onClick={() => setQuery(filterQuery({ node: job.node }))}
          >
            {printable(job.node)}
          </button>
        </div>
      )}
      <div role="gridcell" class="cell-created">
        {job.createTime && <Time date={timestampDate(job.createTime)} />}
      </div>
      <div role="gridcell" class="cell-duration">
        <JobDuration job={job} />
      </div>
      <div role="gridcell" class="cell-output numeric">
        <OutputSize job={job} live={live} />
      </div>
    </div>
  );
}

/** The time for which the job runs or ran, or has been in the queue. */
function JobDuration({ job: { createTime, startTime, endTime } }: { job: Job }) {
  const start = startTime ?? createTime;
  if (!start) {
    return null;
  }
  return <Duration start={timestampDate(start)} end={endTime && timestampDate(endTime)} />;
}

/** The size of the output. The lists of a gateway do not have that of a job that runs on a node. */
function OutputSize({ job, live }: { job: Job; live: Job | undefined }) {
  if (isFinal(job)) {
    return formatBytes(job.logSize);
  }
  if (job.node) {
    return <span title="The page of the job has the size of its output">–</span>;
  }
  return live && formatBytes(live.logSize);
}

/** A warning with the number of limits that are not in force. A click shows the reasons. */
function UnenforcedMark({ job, onShow }: { job: Job; onShow: (job: Job) => void }) {
  const count = unenforced(job).length;
  if (count === 0) {
    return null;
  }
  const text = count === 1 ? "1 limit is not in force" : `${count} limits are not in force`;
  return (
    <button type="button" class="warning-mark" aria-label={text} title={text} onClick={() => onShow(job)}>
      <Icon name="warning" />
    </button>
  );
}

function Labels({ labels }: { labels: Job["labels"] }) {
  // The server sends a map in any order.
  const all = Object.entries(labels)
    .map(([key, value]) => ({ key, value }))
    .sort((a, b) => (a.key < b.key ? -1 : 1));
  const rest = all.slice(SHOWN_LABELS);
  return (
    <span class="row-labels">
      {all.slice(0, SHOWN_LABELS).map((label) => (
        <LabelChip key={label.key} label={label} />
      ))}
      {rest.length > 0 && (
        <span class="muted small" title={rest.map((label) => printable(formatLabel(label))).join("\n")}>
          +{rest.length}
        </span>
      )}
    </span>
  );
}

/** A label. A click shows only the jobs that have it, in addition to the other filters. */
function LabelChip({ label }: { label: Label }) {
  const text = formatLabel(label);
  const shown = printable(text);
  const filter = () => {
    const others = query.peek().getAll("label");
    setQuery({ label: [...others.filter((each) => each !== text), text] });
  };
  return (
    <button type="button" class="chip" title={`Show only the jobs with ${shown}`} onClick={filter}>
      <span class="ellipsis">{shown}</span>
    </button>
  );
}
