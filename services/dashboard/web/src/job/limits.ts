/** The limits of a job against its usage, and what the kernel enforces. */
import { type AppliedLimit, type Job, Limit } from "@jobworker/client/browser";
import { formatBytes } from "../ui/format.js";
import { averageCpu, type Series } from "./usage_history.js";

const MIB = 1024 * 1024;

/** The use of a limited resource. */
interface Use {
  readonly text: string;
  /** 1 = the limit is reached. Undefined without a limit. */
  readonly share: number | undefined;
}

/** One limit of a job. */
export interface LimitRow {
  readonly limit: Limit;
  readonly name: string;
  /** The limit that the job was created with, or that was set later. */
  readonly requested: string;
  readonly use: Use | undefined;
  /** Undefined if the server reports nothing about the limit, as for a queued job. */
  readonly inForce: boolean | undefined;
  /** The control file and its content. */
  readonly evidence: string;
  /** The reason why the limit is not in force. */
  readonly reason: string;
}

/** The current rates of a job. */
export type Rates = Readonly<Record<"cpu" | "read" | "written", number | null>>;

interface Description {
  readonly name: string;
  /** Returns the limit, or "" if the row says nothing. */
  readonly requested: (job: Job) => string;
  readonly use?: (job: Job, rates: Rates) => Use | undefined;
}

const DESCRIPTIONS: ReadonlyMap<Limit, Description> = new Map([
  [
    Limit.MAX_CPU,
    {
      name: "CPU",
      requested: (job) => `${job.maxCpu} % of one core`,
      use: cpuUse,
    },
  ],
  [
    Limit.MAX_MEMORY,
    { name: "Memory", requested: (job) => formatBytes(job.maxMemory * MIB), use: memoryUse },
  ],
  [
    Limit.MAX_PIDS,
    { name: "Processes", requested: (job) => String(job.maxPids || "unlimited"), use: processUse },
  ],
  [
    Limit.MAX_IO_BPS,
    {
      name: "I/O",
      requested: (job) => (job.maxIoBps ? `${formatBytes(job.maxIoBps)}/s` : "unlimited"),
      use: (job, { read, written }) => {
        const larger = read === null || written === null ? null : Math.max(read, written);
        return measured(larger, (value) => `${formatBytes(value)}/s`, Number(job.maxIoBps));
      },
    },
  ],
  [
    Limit.MAX_IO_IOPS,
    { name: "I/O operations", requested: (job) => (job.maxIoIops ? `${job.maxIoIops}/s` : "") },
  ],
  [Limit.CPU_WEIGHT, { name: "CPU weight", requested: (job) => String(job.cpuWeight || "") }],
  [Limit.CPU_SET, { name: "Cores", requested: (job) => job.cpuSet }],
  [Limit.CONTAINMENT, { name: "Containment", requested: () => "" }],
] satisfies [Limit, Description][]);

/** Returns the limits that the job has, or that the server reports. */
export function limitRows(job: Job, rates: Rates): LimitRow[] {
  const applied = new Map(job.appliedLimits.map((each) => [each.limit, each]));
  const known = [...DESCRIPTIONS.keys()].filter(
    (limit) => applied.has(limit) || DESCRIPTIONS.get(limit)?.requested(job),
  );
  const unknown = [...applied.keys()].filter((limit) => !DESCRIPTIONS.has(limit));
  return [...known, ...unknown].map((limit) => limitRow(job, rates, limit, applied.get(limit)));
}

/** Returns the newest rates. All are `null` before the second measurement. */
export function currentRates({ cpu, read, written }: Series): Rates {
  return { cpu: cpu.at(-1) ?? null, read: read.at(-1) ?? null, written: written.at(-1) ?? null };
}

/** Returns the limit of a resource if the kernel enforces it. */
export function enforced(job: Job, limit: Limit, value: number): number | undefined {
  return job.appliedLimits.some((each) => each.limit === limit && each.inForce) ? value : undefined;
}

function limitRow(job: Job, rates: Rates, limit: Limit, applied: AppliedLimit | undefined): LimitRow {
  const description = DESCRIPTIONS.get(limit);
  return {
    limit,
    name: description?.name ?? `Limit ${limit}`,
    requested: description?.requested(job) ?? "",
    use: description?.use?.(job, rates),
    inForce: applied?.inForce,
    evidence: [applied?.file, applied?.value].filter(Boolean).join(": "),
    reason: applied?.reason ?? "",
  };
}

function measured(value: number | null, format: (value: number) => string, limit: number): Use | undefined {
  return value === null ? undefined : { text: format(value), share: limit > 0 ? value / limit : undefined };
}

/** Returns the current CPU use, or the average of a job that has ended. */
function cpuUse(job: Job, { cpu }: Rates): Use | undefined {
  const value = job.endTime ? averageCpu(job) : cpu;
  return measured(value, (percent) => `${percent.toFixed(1)} %${job.endTime ? " average" : ""}`, job.maxCpu);
}

/** Returns the memory in use, or the maximum of a job that has ended. */
function memoryUse({ usage, maxMemory }: Job): Use | undefined {
  const current = usage?.memoryCurrentBytes;
  const bytes = current ?? usage?.memoryPeakBytes;
  if (bytes === undefined) {
    return undefined;
  }
  const format = (value: number): string => `${formatBytes(value)}${current === undefined ? " peak" : ""}`;
  return measured(Number(bytes), format, maxMemory * MIB);
}

function processUse({ usage, maxPids }: Job): Use | undefined {
  const peak = usage?.pidsPeakCount;
  return peak === undefined ? undefined : measured(Number(peak), (value) => `${value} peak`, maxPids);
}
