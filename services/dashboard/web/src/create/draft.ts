/** The fields of the form that creates a job, as texts, and their conversion to a request. */
import {
  type CreateJobRequest,
  durationFromMs,
  durationMs,
  type FieldViolation,
  type Job,
  JobNetwork,
  type JobRequest,
  JobStdin,
  LimitsPolicy,
} from "@jobworker/client/browser";
import { commandLine } from "../ui/command_line.js";
import { formatExactDuration, formatExactSize } from "./exact.js";
import { type Parsed, parseCpu, parseDuration, parseInteger, parseSize } from "./quantities.js";
import { splitWords } from "./split_words.js";

const MIB = 2 ** 20;

/** The values of `input`: what the job can read. */
export type Input = "none" | "open" | "once" | "terminal";

/** The form. An empty text leaves the field to the server's default. */
export interface Draft {
  readonly command: string;
  /** One `NAME=VALUE` per line. */
  readonly env: string;
  readonly workingDirectory: string;
  /** One `KEY=VALUE` per line. */
  readonly labels: string;
  readonly maxCpu: string;
  readonly maxMemory: string;
  readonly maxPids: string;
  readonly maxIoBps: string;
  readonly maxIoIops: string;
  readonly maxScratch: string;
  readonly cpuWeight: string;
  readonly cpuSet: string;
  readonly limitsPolicy: LimitsPolicy;
  readonly network: JobNetwork;
  readonly input: Input;
  readonly timeout: string;
  readonly stopSignal: string;
  readonly stopGracePeriod: string;
  /** True = the job waits if the server has no room for it. */
  readonly queue: boolean;
  readonly queueTimeout: string;
  readonly priority: string;
  /** The queue of a cluster. */
  readonly queueName: string;
  /** One `KEY=VALUE` per line: labels of the nodes of a cluster. */
  readonly nodeSelector: string;
  readonly retryOnLost: boolean;
}

/** The form as it opens. */
export const EMPTY_DRAFT: Draft = {
  command: "",
  env: "",
  workingDirectory: "",
  labels: "",
  maxCpu: "",
  maxMemory: "",
  maxPids: "",
  maxIoBps: "",
  maxIoIops: "",
  maxScratch: "",
  cpuWeight: "",
  cpuSet: "",
  limitsPolicy: LimitsPolicy.UNSPECIFIED,
  network: JobNetwork.UNSPECIFIED,
  input: "none",
  timeout: "",
  stopSignal: "",
  stopGracePeriod: "",
  queue: true,
  queueTimeout: "1h",
  priority: "",
  queueName: "",
  nodeSelector: "",
  retryOnLost: false,
};

/** Errors by field. */
export type DraftErrors = Readonly<Partial<Record<keyof Draft, string>>>;

/** A request, usable if there are no errors. */
export interface Converted {
  readonly request: JobRequest;
  readonly errors: DraftErrors;
}

/** Converts a form to a request. */
export function toRequest(draft: Draft): Converted {
  const errors: { -readonly [Field in keyof DraftErrors]: string } = {};
  const read = <T>(field: keyof Draft, { value, error }: Parsed<T>): T | undefined => {
    if (error) {
      errors[field] = error;
    }
    return value;
  };
  const duration = (field: "timeout" | "stopGracePeriod" | "queueTimeout") => {
    const ms = read(field, parseDuration(draft[field]));
    return ms === undefined ? {} : { [field]: durationFromMs(ms) };
  };
  const integer = (field: "maxPids" | "cpuWeight" | "priority") =>
    read(field, parseInteger(draft[field])) ?? 0;
  const mebibytes = (field: "maxMemory" | "maxScratch") =>
    Math.ceil((read(field, parseSize(draft[field], "m")) ?? 0) / MIB);

  const [command = "", ...args] = read("command", parseCommand(draft.command)) ?? [];
  const request: JobRequest = {
    command,
    args,
    env: read("env", parsePairs(draft.env)) ?? {},
    labels: read("labels", parsePairs(draft.labels)) ?? {},
    workingDirectory: draft.workingDirectory.trim(),
    maxCpu: read("maxCpu", parseCpu(draft.maxCpu)) ?? 0,
    maxMemory: mebibytes("maxMemory"),
    maxScratch: mebibytes("maxScratch"),
    maxPids: integer("maxPids"),
    maxIoBps: BigInt(read("maxIoBps", parseSize(draft.maxIoBps, "b")) ?? 0),
    maxIoIops: BigInt(read("maxIoIops", parseInteger(draft.maxIoIops)) ?? 0),
    cpuWeight: integer("cpuWeight"),
    cpuSet: draft.cpuSet.trim(),
    limitsPolicy: draft.limitsPolicy,
    network: draft.network,
    stopSignal: draft.stopSignal.trim(),
    priority: integer("priority"),
    queue: draft.queueName.trim(),
    nodeSelector: read("nodeSelector", parsePairs(draft.nodeSelector)) ?? {},
    retryOnLost: draft.retryOnLost,
    ...duration("timeout"),
    ...duration("stopGracePeriod"),
    ...(draft.queue ? duration("queueTimeout") : {}),
    ...inputFields(draft.input),
  };
  return { request, errors };
}

/** Returns a form with the values of a job. The server does not return the environment variables. */
export function fromJob(job: Job): Draft {
  const whole = (value: number | bigint) => (value ? String(value) : "");
  const mebibytes = (value: number) => (value ? `${value} MiB` : "");
  const duration = (value: Job["timeout"]) => (value ? formatExactDuration(durationMs(value)) : "");
  return {
    ...EMPTY_DRAFT,
    command: commandLine(job.command, job.args),
    labels: lines(job.labels),
    workingDirectory: job.workingDirectory,
    maxCpu: job.maxCpu ? `${job.maxCpu}%` : "",
    maxMemory: mebibytes(job.maxMemory),
    maxScratch: mebibytes(job.maxScratch),
    maxPids: whole(job.maxPids),
    maxIoBps: job.maxIoBps ? formatExactSize(job.maxIoBps) : "",
    maxIoIops: whole(job.maxIoIops),
    cpuWeight: whole(job.cpuWeight),
    cpuSet: job.cpuSet,
    limitsPolicy: job.limitsPolicy,
    network: job.network,
    input: inputOf(job),
    timeout: duration(job.timeout),
    stopSignal: job.stopSignal,
    stopGracePeriod: duration(job.stopGracePeriod),
    queue: job.queueTimeout !== undefined,
    queueTimeout: duration(job.queueTimeout) || EMPTY_DRAFT.queueTimeout,
    priority: whole(job.priority),
    queueName: job.queue,
    nodeSelector: lines(job.nodeSelector),
    retryOnLost: job.retryOnLost,
  };
}

function lines(pairs: Job["labels"]): string {
  return Object.entries(pairs)
    .map(([key, value]) => `${key}=${value}`)
    .join("\n");
}

const OTHER_NAMES: Readonly<Record<string, keyof Draft>> = {
  args: "command",
  queue: "queueName",
  stdin: "input",
  terminal: "input",
};

/** Finds the form's field for each field that the server refused. `others` are the texts without a field. */
export function placeViolations(violations: readonly FieldViolation[]): {
  readonly errors: DraftErrors;
  readonly others: readonly string[];
} {
  const errors: { -readonly [Field in keyof DraftErrors]: string } = {};
  const others: string[] = [];
  for (const { field, description } of violations) {
    const name = draftField(field);
    if (name) {
      errors[name] = [errors[name], description].filter(Boolean).join(" ");
    } else {
      others.push(`${field}: ${description}`);
    }
  }
  return { errors, others };
}

/** Returns the form's field for a field of the request, such as `max_memory`, `args[2]` or `terminal.columns`. */
function draftField(field: string): keyof Draft | undefined {
  const snake = field.split(/[[.]/)[0] ?? "";
  const camel = snake.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
  const name = OTHER_NAMES[camel] ?? camel;
  return Object.hasOwn(EMPTY_DRAFT, name) ? (name as keyof Draft) : undefined;
}

function parseCommand(line: string): Parsed<readonly string[]> {
  const { words, error } = splitWords(line);
  if (error || !words[0]) {
    return { value: undefined, error: error || "Enter the command to run." };
  }
  return { value: words, error: "" };
}

/** Reads lines of the form `NAME=VALUE`. Ignores empty lines. */
function parsePairs(text: string): Parsed<Record<string, string>> {
  const pairs: [string, string][] = [];
  for (const line of text.split("\n").filter((each) => each.trim())) {
    const [name = "", ...rest] = line.split("=");
    if (!name.trim() || rest.length === 0) {
      return { value: undefined, error: `"${line.trim()}" is not of the form NAME=VALUE.` };
    }
    pairs.push([name.trim(), rest.join("=")]);
  }
  return { value: Object.fromEntries(pairs), error: "" };
}

function inputFields(input: Input): Partial<Pick<CreateJobRequest, "stdin">> & { terminal?: object } {
  switch (input) {
    case "none":
      return {};
    case "open":
      return { stdin: JobStdin.OPEN };
    case "once":
      return { stdin: JobStdin.ONCE };
    case "terminal":
      return { terminal: {} };
  }
}

function inputOf({ terminal, stdin }: Job): Input {
  if (terminal) {
    return "terminal";
  }
  return stdin === JobStdin.OPEN ? "open" : stdin === JobStdin.ONCE ? "once" : "none";
}
