/** The view of all jobs. */
import type { Job } from "@jobworker/client/browser";
import { signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { client, endsSession } from "../app/client.js";
import { Page } from "../app/page.js";
import { query, setQuery } from "../app/router.js";
import { isAdmin } from "../app/session.js";
import { now } from "../ui/clock.js";
import { isFinal } from "../ui/status.js";
import { formatLabel, isFiltered, MAX_FINAL_JOBS, onNode, readFilters, toWatchFilter } from "./filters.js";
import { JobList } from "./job_list.js";
import { JobsTable } from "./jobs_table.js";
import { refreshLiveJobs } from "./live_figures.js";
import { Failure, NoJobs } from "./no_jobs.js";
import { formatOrder, parseOrder, sortJobs } from "./order.js";
import { Selection } from "./selection.js";
import { SelectionBar } from "./selection_bar.js";
import { Toolbar } from "./toolbar.js";
import { useTableKeys } from "./use_table_keys.js";

// The number of jobs whose owners and labels the filters suggest.
const SUGGESTING_JOBS = 500;

// The watch goes on while the user looks at a job, so that the table is complete when the user comes back.
const list = new JobList(client);
let watchedFilters = "";
const current = signal("");
const selection = new Selection();

/** The table of jobs with its filters. */
export function JobsPage() {
  const filters = readFilters(query.value);
  const order = parseOrder(query.value.get("sort"));
  const filterKey = JSON.stringify(filters);
  const all = list.state.value.jobs;
  const jobs = useMemo(() => onNode(all, filters), [list.state.value, filters.node]);
  const sorted = useMemo(
    () => sortJobs(jobs.values(), order, now.peek()),
    [list.state.value, filters.node, order.column, order.descending],
  );
  const suggestions = useMemo(() => suggest(sorted), [sorted]);
  const nodes = useMemo(() => nodesOf(all.values()), [list.state.value]);
  const failure = list.failure.value;

  useEffect(() => {
    if (watchedFilters !== filterKey || list.failure.peek()) {
      watchedFilters = filterKey;
      list.start(toWatchFilter(filters, new Date()));
    }
  }, [filterKey]);
  useEffect(() => {
    if (failure) {
      endsSession(failure);
    }
  }, [failure]);
  useEffect(() => {
    const abort = new AbortController();
    const hasLive = () => [...list.state.peek().jobs.values()].some((job) => !isFinal(job));
    void refreshLiveJobs(client, hasLive, abort.signal);
    return () => abort.abort();
  }, []);
  useTableKeys(sorted, current, isAdmin.value ? selection : undefined);

  return (
    <Page title="Jobs" heading={<Heading count={sorted.length} />} fill>
      <Toolbar filters={filters} nodes={nodes} {...suggestions} />
      {isAdmin.value && <SelectionBar jobs={jobs} selection={selection} />}
      {failure ? (
        <Failure error={failure} onRetry={() => list.start(toWatchFilter(filters, new Date()))} />
      ) : sorted.length === 0 && list.synced.value ? (
        <NoJobs filtered={isFiltered(filters)} />
      ) : (
        <JobsTable
          jobs={sorted}
          filterKey={filterKey}
          hasNodes={nodes.length > 0}
          order={order}
          onOrder={(next) => setQuery({ sort: formatOrder(next) }, { replace: true })}
          current={current.value}
          onCurrent={(id) => {
            current.value = id;
          }}
          selection={isAdmin.value ? selection : undefined}
          busy={!list.synced.value}
        />
      )}
    </Page>
  );
}

function Heading({ count }: { count: number }) {
  const isBounded = count >= MAX_FINAL_JOBS;
  return (
    <>
      Jobs{" "}
      <span
        class="heading-count"
        title={isBounded ? "The newest ended jobs; filters find older ones" : undefined}
      >
        {list.synced.value ? `${count.toLocaleString("en")}${isBounded ? "+" : ""}` : "…"}
      </span>
    </>
  );
}

/** Returns the names of the nodes of the jobs. */
function nodesOf(jobs: Iterable<Job>): readonly string[] {
  const names = new Set<string>();
  for (const { node } of jobs) {
    names.add(node);
  }
  names.delete("");
  return [...names].sort();
}

/** Returns what the filters can suggest: the owners and the labels of the first jobs. */
function suggest(jobs: readonly Job[]): { owners: readonly string[]; labels: readonly string[] } {
  const owners = new Set<string>();
  const labels = new Set<string>();
  for (const job of jobs.slice(0, SUGGESTING_JOBS)) {
    owners.add(job.owner);
    for (const [key, value] of Object.entries(job.labels)) {
      labels.add(formatLabel({ key, value }));
    }
  }
  return { owners: [...owners], labels: [...labels].sort() };
}
