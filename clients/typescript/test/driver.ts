/**
 * Runs operations of the client for tests/interop. Reads one JSON request per line from stdin and writes one JSON
 * response per line to stdout.
 */
import { createHash } from "node:crypto";
import { createInterface } from "node:readline";
import { fromJson, type JsonObject, type JsonValue, toJson } from "@bufbuild/protobuf";
import type { Attachment, Job, JobStream, Source } from "@jobworker/client";
import {
  Client,
  CreateJobRequestSchema,
  JobSchema,
  JobStatus,
  JobWorkerError,
  UpdateJobRequestSchema,
} from "@jobworker/client";

/** An operation and its arguments. Durations are in seconds. */
interface Request {
  readonly op: string;
  readonly id?: string;
  readonly ids?: string[];
  readonly deadline?: number;
  readonly job?: JsonObject;
  readonly limits?: JsonObject;
  readonly statuses?: (keyof typeof JobStatus)[];
  readonly labels?: Record<string, string>;
  readonly id_prefix?: string;
  readonly owner?: string;
  readonly created_after?: string;
  readonly created_before?: string;
  readonly command_contains?: string;
  readonly page_size?: number;
  readonly grace_period?: number;
  readonly offset?: number;
  readonly tail_lines?: number;
  readonly tail_bytes?: number;
  readonly source?: Source;
  readonly follow?: boolean;
  readonly cancel_after_bytes?: number;
  readonly input?: string;
  readonly eof?: boolean;
  readonly take_over?: boolean;
  readonly size?: [number, number];
  readonly signal?: string;
  readonly redraw?: [number, number];
  readonly detach_after_bytes?: number;
}

type Operation = (client: Client, request: Request) => Promise<JsonValue>;

const OPERATIONS: Record<string, Operation> = {
  async create(client, request) {
    const job = fromJson(CreateJobRequestSchema, request.job ?? {});
    return jobJson(await client.create(job, callOptions(request)));
  },
  async get(client, request) {
    return jobJson(await client.get(request.id ?? "", callOptions(request)));
  },
  async list(client, request) {
    const filter = {
      statuses: (request.statuses ?? []).map((name) => statusOf(name)),
      labels: request.labels ?? {},
      idPrefix: request.id_prefix ?? "",
      owner: request.owner ?? "",
      createdAfter: dateOf(request.created_after),
      createdBefore: dateOf(request.created_before),
      commandContains: request.command_contains ?? "",
      pageSize: request.page_size ?? 0,
    };
    const ids: string[] = [];
    for await (const job of client.list(filter, callOptions(request))) {
      ids.push(job.id);
    }
    return { ids };
  },
  async update(client, request) {
    const { $typeName: _, id: __, ...limits } = fromJson(UpdateJobRequestSchema, request.limits ?? {});
    return jobJson(await client.update(request.id ?? "", limits, callOptions(request)));
  },
  async stop(client, request) {
    const gracePeriodMs = milliseconds(request.grace_period);
    return jobJson(await client.stop(request.id ?? "", { gracePeriodMs, ...callOptions(request) }));
  },
  async delete(client, request) {
    await client.delete(request.id ?? "", callOptions(request));
    return {};
  },
  async wait(client, request) {
    return jobJson(await client.wait(request.id ?? "", callOptions(request)));
  },
  async watch(client, request) {
    const ids = request.ids ?? [];
    const ended = new Map<string, Job | undefined>();
    for await (const event of client.watch({ ids }, callOptions(request))) {
      if (event.type === "changed" && event.job.endTime) {
        ended.set(event.job.id, event.job);
      } else if (event.type === "removed") {
        ended.set(event.id, undefined);
      }
      if (ended.size === ids.length) {
        break;
      }
    }
    const jobs = ids.map((id) => ended.get(id)).filter((job) => job !== undefined);
    return { jobs: jobs.map(jobJson) };
  },
  async stream(client, request) {
    const stream = client.stream(request.id ?? "", {
      offset: request.offset,
      tailLines: request.tail_lines,
      tailBytes: request.tail_bytes,
      source: request.source,
      follow: request.follow,
      ...callOptions(request),
    });
    return await digest(stream, request.cancel_after_bytes ?? Number.POSITIVE_INFINITY);
  },
  async attach(client, request) {
    const { id = "", input, eof = true, size, signal, redraw } = request;
    const attachment = client.attach(id, {
      input: input !== undefined,
      takeOver: request.take_over,
      size: size && { columns: size[0], rows: size[1] },
      ...callOptions(request),
    });
    if (input !== undefined) {
      // The output reports the errors of the input.
      writeInput(attachment, Buffer.from(input, "base64"), eof).catch(() => undefined);
    }
    const onFirst = (): void => {
      if (signal) {
        attachment.signal(signal);
      }
      if (redraw) {
        attachment.resize(...redraw, { redraw: true });
      }
    };
    return await digest(attachment, request.detach_after_bytes ?? Number.POSITIVE_INFINITY, onFirst);
  },
};

async function writeInput(attachment: Attachment, data: Uint8Array, eof: boolean): Promise<void> {
  await attachment.write(data);
  if (eof) {
    await attachment.end();
  }
}

/** Reads up to `limit` bytes of a stream and describes them. Calls `onFirst` with the first chunk. */
async function digest(
  stream: JobStream | Attachment,
  limit: number,
  onFirst: () => unknown = () => undefined,
): Promise<JsonValue> {
  const hash = createHash("sha256");
  const truncated: number[][] = [];
  let [bytes, begin, end] = [0, null as number | null, null as number | null];
  for await (const chunk of stream) {
    if (bytes === 0) {
      onFirst();
    }
    hash.update(chunk.data);
    bytes += chunk.data.length;
    if (chunk.truncated) {
      truncated.push([chunk.truncated.fromOffset, chunk.truncated.toOffset]);
    } else {
      begin ??= chunk.offset;
      end = chunk.offset + chunk.data.length;
    }
    if (bytes >= limit) {
      break;
    }
  }
  const job = bytes >= limit ? null : jobJson(await stream.result());
  return {
    sha256: hash.digest("hex"),
    bytes,
    begin: begin ?? stream.offset,
    end: end ?? stream.offset,
    truncated,
    job,
  };
}

function jobJson(job: Job): JsonValue {
  return toJson(JobSchema, job);
}

function statusOf(name: string): JobStatus {
  return JobStatus[name.replace("JOB_STATUS_", "") as keyof typeof JobStatus];
}

function dateOf(time: string | undefined): Date | undefined {
  return time === undefined ? undefined : new Date(time);
}

function callOptions(request: Request): { timeoutMs?: number | undefined } {
  return { timeoutMs: milliseconds(request.deadline) };
}

function milliseconds(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : seconds * 1000;
}

async function respond(client: Client, request: Request): Promise<JsonValue> {
  const operation = OPERATIONS[request.op];
  if (!operation) {
    throw new Error(`unknown operation "${request.op}"`);
  }
  try {
    return { result: await operation(client, request) };
  } catch (error) {
    if (!(error instanceof JobWorkerError)) {
      throw error;
    }
    const { code, reason, message, metadata } = error;
    return { error: { code, reason, message, fields: error.fields.map((each) => each.field), metadata } };
  }
}

using client = Client.fromEnv();
for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await respond(client, JSON.parse(line))));
}
