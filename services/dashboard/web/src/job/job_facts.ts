/** The values of a record in words. */
import { type Job, JobNetwork, JobStdin, LimitsPolicy, type Usage } from "@jobworker/client/browser";
import { formatBytes, formatDuration } from "../ui/format.js";
import { printable } from "../ui/printable.js";
import type { Counter } from "./usage_history.js";

/** A name and its text. */
export interface TextFact {
  readonly name: string;
  readonly value: string;
}

const USAGE: readonly (readonly [Counter, string, (value: number) => string])[] = [
  ["wallUsec", "Run time", formatUsec],
  ["cpuUserUsec", "CPU in user mode", formatUsec],
  ["cpuSystemUsec", "CPU in the kernel", formatUsec],
  ["cpuThrottledUsec", "CPU throttled", formatUsec],
  ["cpuPressureSomeUsec", "Waited for CPU", formatUsec],
  ["memoryCurrentBytes", "Memory now", formatBytes],
  ["memoryPeakBytes", "Memory peak", formatBytes],
  ["memoryHighCount", "Slowed at 90 % of the memory", formatCount],
  ["memoryPressureSomeUsec", "Waited for memory", formatUsec],
  ["ioReadBytes", "I/O read", formatBytes],
  ["ioWriteBytes", "I/O written", formatBytes],
  ["ioReadCount", "Read operations", String],
  ["ioWriteCount", "Write operations", String],
  ["ioPressureSomeUsec", "Waited for I/O", formatUsec],
  ["scratchBytes", "Scratch", formatBytes],
  ["pidsPeakCount", "Process peak", String],
  ["pidsDeniedCount", "Forks refused", formatCount],
  ["oomKillCount", "OOM kills", formatCount],
];

/** Returns what the server has measured. */
export function usageFacts(usage: Usage | undefined): TextFact[] {
  return USAGE.flatMap(([counter, name, format]) => {
    const value = usage?.[counter];
    return value === undefined ? [] : [{ name, value: format(Number(value)) }];
  });
}

/** Returns the facts about the end of a job. */
export function resultFacts({ exitCode, termination, killPending }: Job): TextFact[] {
  return present([
    ["Exit code", exitCode === undefined ? "" : String(exitCode)],
    ["Signal", termination?.signal ? `${termination.signalName} (${termination.signal})` : ""],
    ["Ended because", termination?.message],
    ["Stopped by", termination?.stoppedBy],
    ["Out of memory", termination?.oomKilled && "the kernel killed processes of the job"],
    ["Left behind", termination?.leftoversKilled && "the server killed processes that outlived the command"],
    ["Kill pending", killPending && "SIGKILL is pending; a process is blocked in the kernel"],
  ]);
}

/** Returns how the job was to run. */
export function settingFacts(job: Job): TextFact[] {
  return present([
    ["Directory", job.workingDirectory],
    ["PID", job.pid && String(job.pid)],
    ["Priority", job.priority && String(job.priority)],
    ["Attempt", job.attempt > 1 && String(job.attempt)],
    ["Queue", job.queue],
    ["Node selector", pairsText(job.nodeSelector)],
    ["If lost", job.retryOnLost && "the cluster starts the job again"],
    ["Queue timeout", job.queueTimeout && formatSeconds(job.queueTimeout)],
    ["Timeout", job.timeout && formatSeconds(job.timeout)],
    ["Stopped with", job.stopSignal && stopText(job)],
    ["Input", INPUTS[job.stdin]],
    ["Terminal", job.terminal && `${job.terminal.columns} × ${job.terminal.rows}, ${job.terminal.term}`],
    [
      "Network",
      job.network === JobNetwork.NONE ? "only a private loopback interface" : "all interfaces of the host",
    ],
    ["Limits policy", POLICIES[job.limitsPolicy]],
    ["Scratch", job.maxScratch && `at most ${job.maxScratch} MiB`],
    ["Output", formatBytes(job.logSize)],
  ]);
}

const INPUTS: Partial<Record<JobStdin, string>> = {
  [JobStdin.NONE]: "none",
  [JobStdin.OPEN]: "open for clients",
  [JobStdin.ONCE]: "open for one client",
};

const POLICIES: Partial<Record<LimitsPolicy, string>> = {
  [LimitsPolicy.BEST_EFFORT]: "best effort: the job runs without limits that the host lacks",
  [LimitsPolicy.STRICT]: "strict: the job does not run without all limits",
};

function present(facts: readonly (readonly [string, string | false | 0 | undefined])[]): TextFact[] {
  return facts.flatMap(([name, value]) => (value ? [{ name, value: printable(value) }] : []));
}

function pairsText(pairs: Job["nodeSelector"]): string {
  return Object.entries(pairs)
    .map(([key, value]) => `${key}=${value}`)
    .sort()
    .join(", ");
}

function stopText({ stopSignal, stopGracePeriod }: Job): string {
  return stopGracePeriod ? `${stopSignal}, after ${formatSeconds(stopGracePeriod)} SIGKILL` : stopSignal;
}

function formatSeconds({ seconds, nanos }: { seconds: bigint; nanos: number }): string {
  return formatDuration(Number(seconds) * 1000 + nanos / 1_000_000);
}

function formatUsec(usec: number): string {
  return formatDuration(usec / 1000);
}

function formatCount(count: number): string {
  return count === 1 ? "once" : `${count} times`;
}
