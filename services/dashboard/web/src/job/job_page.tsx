/** The page of one job. */
import { type Job, JobStdin } from "@jobworker/client/browser";
import { useEffect, useMemo } from "preact/hooks";
import { client, endsSession } from "../app/client.js";
import { useKeys } from "../app/keys.js";
import { Link } from "../app/link.js";
import { Page } from "../app/page.js";
import { query, setQuery } from "../app/router.js";
import { AttachTab } from "../attach/attach_tab.js";
import { JobActions } from "../jobs/job_actions.js";
import { LogView } from "../log/log_view.js";
import { shownCommand } from "../ui/command_line.js";
import { EmptyState } from "../ui/empty_state.js";
import { printable } from "../ui/printable.js";
import { statusReason } from "../ui/status.js";
import { StatusBadge } from "../ui/status_badge.js";
import { Tabs, tabId } from "../ui/tabs.js";
import { JobFeed } from "./job_feed.js";
import { currentRates } from "./limits.js";
import { RecordTab } from "./record_tab.js";
import { UsageTab } from "./usage_tab.js";
import "./job.css";

const TABS = [
  { id: "log", text: "Log" },
  { id: "record", text: "Record" },
  { id: "usage", text: "Usage" },
  { id: "attach", text: "Attach" },
] as const;

type TabId = (typeof TABS)[number]["id"];

/** The page of the job with this id. The tab is in the query. */
export function JobPage({ id }: { id: string }) {
  const feed = useMemo(() => new JobFeed(client, id), [id]);
  useEffect(() => {
    const leaving = new AbortController();
    feed.run(leaving.signal, () => !document.hidden).catch(endsSession);
    return () => leaving.abort();
  }, [feed]);
  const job = feed.job.value;
  if (job) {
    return <KnownJob job={job} feed={feed} />;
  }
  const state = feed.state.value;
  switch (state.kind) {
    case "missing":
      return <NoJob title="This job does not exist" text={`The server has no job ${id}.`} />;
    case "failed":
      return <NoJob title="The server did not return the job" text={state.message} />;
    default:
      return <Page title="Job">{null}</Page>;
  }
}

function NoJob({ title, text }: { title: string; text: string }) {
  return (
    <Page title={title} heading={<span class="visually-hidden">{title}</span>}>
      <EmptyState title={title}>
        <p>{text}</p>
        <Link href="/">Show all jobs</Link>
      </EmptyState>
    </Page>
  );
}

function KnownJob({ job, feed }: { job: Job; feed: JobFeed }) {
  const tabs = TABS.filter(({ id }) => id !== "attach" || takesInput(job));
  const requested = query.value.get("tab");
  const current: TabId = TABS.find(({ id }) => id === requested)?.id ?? "log";
  const select = (tab: TabId) => setQuery({ tab });
  useKeys(
    "Job",
    tabs.map(({ id, text }, index) => ({
      keys: String(index + 1),
      help: `Show the tab ${text}`,
      run: () => select(id),
    })),
  );
  const text = shownCommand(job.command, job.args);
  return (
    <Page
      title={text}
      heading={<Heading job={job} text={text} />}
      actions={<JobActions job={job} />}
      fill={current === "log" || current === "attach"}
    >
      <Situation job={job} isDeleted={feed.state.value.kind === "deleted"} />
      <Tabs label="Views of the job" tabs={tabs} current={current} onSelect={select} />
      <div class={`job-panel ${current}`} role="tabpanel" aria-labelledby={tabId(current)}>
        <Panel tab={current} job={job} feed={feed} />
      </div>
    </Page>
  );
}

function Panel({ tab, job, feed }: { tab: TabId; job: Job; feed: JobFeed }) {
  switch (tab) {
    case "log":
      return <LogView jobId={job.id} attempt={job.attempt} />;
    case "record":
      return <RecordTab job={job} rates={currentRates(feed.history.series)} />;
    case "usage":
      return <UsageTab feed={feed} job={job} />;
    case "attach":
      return <AttachTab job={job} />;
  }
}

function Heading({ job, text }: { job: Job; text: string }) {
  return (
    <span class="job-heading">
      <StatusBadge job={job} />
      <span class="mono ellipsis" title={text}>
        {text}
      </span>
    </span>
  );
}

/** The sentence of the server about the status of the job. */
function Situation({ job, isDeleted }: { job: Job; isDeleted: boolean }) {
  const reason = printable(statusReason(job));
  return (
    <>
      {isDeleted && (
        <p class="message warn" role="alert">
          This job was deleted. The page shows its last state.
        </p>
      )}
      {reason && (
        <p class="job-reason">
          {job.queuePosition > 0 ? `Position ${job.queuePosition}: ${reason}` : reason}
        </p>
      )}
    </>
  );
}

/** Reports whether clients can pass input to the job. */
function takesInput({ terminal, stdin }: Job): boolean {
  return terminal !== undefined || stdin === JobStdin.OPEN || stdin === JobStdin.ONCE;
}
