/** The record of a job. */
import { IsolationPart, type Job, timestampDate } from "@jobworker/client/browser";
import { Link } from "../app/link.js";
import { commandLine } from "../ui/command_line.js";
import { CopyButton } from "../ui/copy_button.js";
import { printable, printableLines } from "../ui/printable.js";
import { Duration, Time } from "../ui/time.js";
import { type Fact, Facts } from "./facts.js";
import { resultFacts, settingFacts } from "./job_facts.js";
import type { Rates } from "./limits.js";
import { InForce, LimitsTable } from "./limits_table.js";
import { timeline } from "./timeline.js";

/** The tab "Record". */
export function RecordTab({ job, rates }: { job: Job; rates: Rates }) {
  const results = resultFacts(job);
  return (
    <>
      {results.length > 0 && (
        <section class="panel job-section" aria-labelledby="result">
          <h2 id="result">Result</h2>
          <Facts facts={results} />
        </section>
      )}
      <section class="panel job-section" aria-labelledby="command">
        <h2 id="command">Command</h2>
        <Command job={job} />
        <Facts facts={[...identityFacts(job), ...settingFacts(job)]} />
      </section>
      <Timeline job={job} />
      <LimitsTable job={job} rates={rates} />
      {job.appliedIsolation.length > 0 && <Isolation job={job} />}
    </>
  );
}

function Command({ job }: { job: Job }) {
  const text = commandLine(job.command, job.args);
  return (
    <div class="command">
      <pre>{printableLines(text)}</pre>
      <CopyButton text={text} label="Copy the command" />
    </div>
  );
}

function identityFacts(job: Job): Fact[] {
  const labels = Object.entries(job.labels).sort();
  return [
    {
      name: "Job id",
      value: (
        <span class="copyable">
          <code>{job.id}</code>
          <CopyButton text={job.id} label="Copy the job id" />
        </span>
      ),
    },
    { name: "Owner", value: printable(job.owner) },
    ...(job.node ? [{ name: "Node", value: <NodeLink name={job.node} /> }] : []),
    ...(labels.length > 0 ? [{ name: "Labels", value: <Labels labels={labels} /> }] : []),
    ...timeFacts(job),
  ];
}

function NodeLink({ name }: { name: string }) {
  return (
    <Link href={`/?node=${encodeURIComponent(name)}`} title="Show the jobs on this node">
      {printable(name)}
    </Link>
  );
}

function Labels({ labels }: { labels: readonly (readonly [string, string])[] }) {
  return (
    <span class="labels">
      {labels.map(([key, value]) => (
        <Link
          key={key}
          class="chip"
          href={`/?label=${encodeURIComponent(`${key}=${value}`)}`}
          title="Show the jobs with this label"
        >
          <span class="ellipsis">
            {key}={value}
          </span>
        </Link>
      ))}
    </span>
  );
}

function timeFacts({ createTime, startTime, endTime }: Job): Fact[] {
  const start = startTime && timestampDate(startTime);
  const end = endTime && timestampDate(endTime);
  return [
    ...(createTime ? [{ name: "Created", value: <Time date={timestampDate(createTime)} /> }] : []),
    ...(start ? [{ name: "Started", value: <Time date={start} /> }] : []),
    ...(end ? [{ name: "Ended", value: <Time date={end} /> }] : []),
    ...(start ? [{ name: end ? "Ran for" : "Runs for", value: <Duration start={start} end={end} /> }] : []),
  ];
}

function Timeline({ job }: { job: Job }) {
  return (
    <section class="panel job-section" aria-labelledby="timeline">
      <h2 id="timeline">Timeline</h2>
      <ol class="timeline" aria-labelledby="timeline">
        {timeline(job).map(({ title, time, details, kind }) => (
          <li key={title} class={kind}>
            <span class="timeline-time muted">{time ? <Time date={time} /> : "now"}</span>
            <span class="timeline-title">{title}</span>
            {details && <span class="timeline-details">{printable(details)}</span>}
          </li>
        ))}
      </ol>
    </section>
  );
}

function Isolation({ job }: { job: Job }) {
  return (
    <section class="panel job-section" aria-labelledby="isolation">
      <h2 id="isolation">Isolation</h2>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: the keyboard scrolls it */}
      <section class="table-scroll" aria-labelledby="isolation" tabIndex={0}>
        <table class="job-table" aria-labelledby="isolation">
          <thead>
            <tr>
              <th scope="col">Part</th>
              <th scope="col">In force</th>
            </tr>
          </thead>
          <tbody>
            {job.appliedIsolation.map(({ part, inForce, reason, value }) => (
              <tr key={part}>
                <th scope="row">{partName(part)}</th>
                <td>
                  <InForce inForce={inForce} reason={reason} details={value} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </section>
  );
}

// A newer server can send a part without a name.
function partName(part: IsolationPart): string {
  const words = (IsolationPart[part] ?? `part ${part}`).toLowerCase().replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
