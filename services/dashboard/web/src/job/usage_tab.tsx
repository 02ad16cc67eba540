/** The usage of a job: charts since the page was opened, the limits, and the totals. */
import { type Job, JobStatus, Limit } from "@jobworker/client/browser";
import { useEffect, useState } from "preact/hooks";
import { reportError } from "../app/client.js";
import { formatBytes } from "../ui/format.js";
import type { Chart as ChartComponent } from "./chart.js";
import { Facts } from "./facts.js";
import { usageFacts } from "./job_facts.js";
import type { JobFeed } from "./job_feed.js";
import { currentRates, enforced } from "./limits.js";
import { LimitsTable } from "./limits_table.js";

const MIB = 1024 * 1024;

/** The tab "Usage". */
export function UsageTab({ feed, job }: { feed: JobFeed; job: Job }) {
  // Renders again with each measurement.
  void feed.measurements.value;
  const facts = usageFacts(job.usage);
  return (
    <>
      <Charts feed={feed} job={job} />
      <LimitsTable job={job} rates={currentRates(feed.history.series)} />
      <section class="panel job-section" aria-labelledby="totals">
        <h2 id="totals">{job.endTime ? "Used in total" : "Used until now"}</h2>
        {facts.length > 0 ? (
          <Facts facts={facts} />
        ) : (
          <p class="muted">The server has not measured the job.</p>
        )}
      </section>
    </>
  );
}

function Charts({ feed, job }: { feed: JobFeed; job: Job }) {
  const { times, cpu, memory, read, written, cpuPressure, memoryPressure, ioPressure } = feed.history.series;
  const Chart = useChart();
  if (times.length === 0) {
    return <p class="muted">{emptyReason(job)}</p>;
  }
  if (!Chart) {
    return null;
  }
  return (
    <section aria-label="Charts">
      <p class="muted small chart-period">Measured each second since this page was opened.</p>
      <div class="charts">
        <Chart
          title="CPU"
          times={times}
          lines={[{ name: "CPU", color: "--accent", values: cpu }]}
          format={formatPercent}
          minScale={10}
          base={10}
          limit={enforced(job, Limit.MAX_CPU, job.maxCpu)}
        />
        <Chart
          title="Memory"
          times={times}
          lines={[{ name: "Memory", color: "--accent", values: memory }]}
          format={formatBytes}
          minScale={MIB}
          base={2}
          limit={enforced(job, Limit.MAX_MEMORY, job.maxMemory * MIB)}
        />
        <Chart
          title="I/O"
          times={times}
          lines={[
            { name: "read", color: "--accent", values: read },
            { name: "written", color: "--ok", values: written },
          ]}
          format={(value) => `${formatBytes(value)}/s`}
          minScale={1024}
          base={2}
          limit={job.maxIoBps ? enforced(job, Limit.MAX_IO_BPS, Number(job.maxIoBps)) : undefined}
        />
        <Chart
          title="Pressure"
          times={times}
          lines={[
            { name: "CPU", color: "--accent", values: cpuPressure },
            { name: "memory", color: "--lost", values: memoryPressure },
            { name: "I/O", color: "--ok", values: ioPressure },
          ]}
          format={formatPercent}
          minScale={10}
          base={10}
        />
      </div>
    </section>
  );
}

/** Returns the component of a chart once its code is loaded, which the other views do not need. */
function useChart(): typeof ChartComponent | undefined {
  const [loaded, setLoaded] = useState<{ readonly Chart: typeof ChartComponent }>();
  useEffect(() => {
    import("./chart.js").then(setLoaded, reportError);
  }, []);
  return loaded?.Chart;
}

function formatPercent(value: number): string {
  return `${Number(value.toFixed(value < 100 ? 1 : 0))} %`;
}

function emptyReason({ status, usage }: Job): string {
  if (status === JobStatus.RUNNING) {
    return usage ? "The charts begin now." : "The charts begin with the first measurement.";
  }
  return status === JobStatus.QUEUED || status === JobStatus.INITIALIZING
    ? "The charts begin when the job runs."
    : "The job had ended before this page was opened, so there are no charts.";
}
