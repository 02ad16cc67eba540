/** The log of a job: live, searchable, of any size. */
import { useSignalEffect } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { useKeys } from "../app/keys.js";
import { query } from "../app/router.js";
import { LogModel } from "./log_model.js";
import { LogStatus } from "./log_status.js";
import { LogToolbar } from "./log_toolbar.js";
import { SearchBar } from "./search_bar.js";
import { BOTH } from "./source.js";
import "./log.css";
import "./output.css";

interface LogViewProps {
  readonly jobId: string;
  /** Number of the attempt, which has its own output. A host that runs a job once has none: 0. */
  readonly attempt: number;
  /** The origin of the dashboard. */
  readonly baseUrl?: string;
}

/** The log of one job. It fills its container, which must have a height. */
export function LogView({ jobId, attempt, baseUrl = location.origin }: LogViewProps) {
  // Another job or attempt is another view with its own worker. A queued job can have no attempt yet.
  return <JobLog key={`${jobId} ${Math.max(1, attempt)}`} jobId={jobId} baseUrl={baseUrl} />;
}

function JobLog({ jobId, baseUrl }: { jobId: string; baseUrl: string }) {
  const model = useMemo(() => new LogModel(jobId, baseUrl), []);
  useEffect(() => () => model.close(), []);
  const searchField = useRef<HTMLInputElement>(null);
  useSignalEffect(() => {
    query.value;
    model.readAddress();
  });
  useLogKeys(model, () => searchField.current?.select());
  return (
    <section class="log-panel" aria-label="Log">
      <LogToolbar model={model} />
      <SearchBar model={model} fieldRef={searchField} />
      <LogRows model={model} />
      <LogStatus model={model} />
    </section>
  );
}

function useLogKeys(model: LogModel, focusSearch: () => void): void {
  useKeys("Log", [
    { keys: "/", help: "Search the log", run: focusSearch },
    { keys: "n", help: "Show the next match", run: () => void model.step(1) },
    { keys: "N", help: "Show the previous match", run: () => void model.step(-1) },
    { keys: "j", help: "Scroll down by a line", run: () => model.scrollRows(1) },
    { keys: "k", help: "Scroll up by a line", run: () => model.scrollRows(-1) },
    { keys: "PageDown", help: "Scroll down by a page", run: () => model.scrollPages(1) },
    { keys: "PageUp", help: "Scroll up by a page", run: () => model.scrollPages(-1) },
    { keys: ["g", "Home"], help: "Show the first line", run: () => model.showFirst() },
    { keys: ["G", "End"], help: "Show the last line and follow", run: () => model.showLast() },
    { keys: "f", help: "Follow the output, or stop", run: () => model.toggleFollow() },
    { keys: "w", help: "Wrap long lines, or not", run: () => model.toggleWrap() },
    { keys: "t", help: "Show or hide timestamps", run: () => model.toggleTimes() },
  ]);
}

/** The rows. `LogWindow` draws them, because a virtual DOM would cost more than it saves. */
function LogRows({ model }: { model: LogModel }) {
  const scroller = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const frame = useRef<HTMLDivElement>(null);
  const layer = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (scroller.current && content.current && frame.current && layer.current) {
      model.mount({
        scroller: scroller.current,
        content: content.current,
        frame: frame.current,
        layer: layer.current,
      });
    }
  }, []);
  const classes = ["log-scroller", model.wraps.value && "wraps", model.showsTimes.value && "shows-times"];
  return (
    <div class="log-view">
      {/* A screen reader would read each line aloud, so the region is not live. */}
      <div class={classes.filter(Boolean).join(" ")} ref={scroller} {...LOG_ROLE}>
        <div class="log-content" ref={content}>
          <div class="log-frame" ref={frame}>
            {/* biome-ignore lint/a11y: the links in it have the keyboard's focus, and the click is theirs. */}
            <div class="log-layer" ref={layer} onClick={(event) => onClick(event, model)} />
          </div>
        </div>
      </div>
      <EmptyNote model={model} />
      {!model.isFollowing.value && model.state.value.phase !== "ended" && (
        <button type="button" class="button primary log-resume" onClick={() => model.showLast()}>
          Follow the output
        </button>
      )}
    </div>
  );
}

const LOG_ROLE = { role: "log", "aria-label": "Output of the job", "aria-live": "off", tabIndex: 0 } as const;

/** Marks the line of a line number that was clicked. */
function onClick(event: MouseEvent, model: LogModel): void {
  const link = event.target instanceof Element ? event.target.closest<HTMLElement>(".log-number") : null;
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    void model.markOffset(Number(link.dataset.offset));
  }
}

function EmptyNote({ model }: { model: LogModel }) {
  const { rows, phase } = model.state.value;
  if (rows[model.filter.value]) {
    return null;
  }
  const hidden = rows[BOTH] ? " to the selected stream" : "";
  const text = phase === "ended" ? `The job wrote nothing${hidden}.` : `No output${hidden} yet.`;
  return <p class="log-empty muted">{text}</p>;
}
