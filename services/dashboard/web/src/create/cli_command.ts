/** The command line that creates the same job as the form. */
import { JobNetwork, type JobRequest, LimitsPolicy } from "@jobworker/client/browser";
import { commandLine } from "../ui/command_line.js";
import { formatExactDuration } from "./exact.js";

/** Returns the `jobworker run` command for a request. */
export function cliCommand(request: JobRequest): string {
  const { command = "", args = [] } = request;
  return commandLine("jobworker", ["run", ...options(request), command, ...args]);
}

function options(request: JobRequest): string[] {
  const { timeout, stopGracePeriod, queueTimeout } = request;
  return [
    ...option("--max-cpu", request.maxCpu),
    ...option("--max-memory", request.maxMemory),
    ...option("--max-pids", request.maxPids),
    ...option("--max-io-bps", request.maxIoBps),
    ...option("--max-io-iops", request.maxIoIops),
    ...option("--cpu-weight", request.cpuWeight),
    ...option("--cpu-set", request.cpuSet),
    ...option("--scratch", request.maxScratch),
    ...option("--workdir", request.workingDirectory),
    ...pairs("--env", request.env),
    ...pairs("--label", request.labels),
    ...duration("--timeout", timeout),
    ...option("--stop-signal", request.stopSignal),
    ...duration("--stop-grace-period", stopGracePeriod),
    ...(request.limitsPolicy === LimitsPolicy.STRICT ? ["--strict"] : []),
    ...(request.limitsPolicy === LimitsPolicy.BEST_EFFORT ? ["--best-effort"] : []),
    ...option("--network", networkName(request.network)),
    ...duration("--queue-timeout", queueTimeout),
    ...option("--priority", request.priority),
    ...option("--queue-name", request.queue),
    ...pairs("--node-selector", request.nodeSelector),
    ...(request.retryOnLost ? ["--retry-on-lost"] : []),
    ...(request.terminal ? ["-it"] : request.stdin ? ["-i"] : []),
  ];
}

// With `=`, because a value can start with a minus sign.
function option(name: string, value: string | number | bigint | undefined): string[] {
  return value ? [`${name}=${value}`] : [];
}

function pairs(name: string, values: JobRequest["env"]): string[] {
  return Object.entries(values ?? {}).map(([key, value]) => `${name}=${key}=${value}`);
}

function duration(name: string, value: JobRequest["timeout"]): string[] {
  if (!value) {
    return [];
  }
  const ms = Number(value.seconds ?? 0) * 1000 + (value.nanos ?? 0) / 1e6;
  return [`${name}=${formatExactDuration(ms).replaceAll(" ", "")}`];
}

function networkName(network: JobNetwork | undefined): string {
  switch (network) {
    case JobNetwork.HOST:
      return "host";
    case JobNetwork.NONE:
      return "none";
    default:
      return "";
  }
}
