/** A server that runs one job, which copies its stdin to its stdout and ends at the end of the input. */
import { setTimeout as sleep } from "node:timers/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ConnectError } from "@connectrpc/connect";
import type { Attachment } from "@jobworker/client";
import type { AttachStart, InputChunk } from "../src/gen/jobworker/v1/job_attach_pb.js";
import type { TerminalResizeSchema } from "../src/gen/jobworker/v1/job_pb.js";
import type { AttachJobRequest, AttachJobResponseSchema } from "../src/gen/jobworker/v1/job_service_pb.js";
import { output, RESULT } from "./scripts.js";
import { type Certificates, type Methods, TestServer, unavailable } from "./server.js";

type Response = MessageInitShape<typeof AttachJobResponseSchema>;

/** The size of a piece of the input. */
export const PART = 64 * 1024;

/** Writes and ends the input. */
export async function write(attachment: Pick<Attachment, "write" | "end">, ...data: Buffer[]): Promise<void> {
  for (const each of data) {
    await attachment.write(each);
  }
  await attachment.end();
}

/** Breaks a call when it has received this many parts. 0 = before the first answer. */
interface Fault {
  readonly part: number;
  /** How many bytes of the last part are accepted. */
  readonly accepts?: number;
}

interface Behavior {
  /** One fault for each call. */
  readonly faults?: readonly Fault[];
  /** The job closes its stdin: the server drops the input, and forgets how much it was. */
  readonly closedStdin?: boolean;
  /** The answer to the first part. */
  readonly refusal?: ConnectError;
  /** The server answers only the start. */
  readonly silent?: boolean;
  /** Sizes that are sent at the start of each call. */
  readonly sizes?: readonly MessageInitShape<typeof TerminalResizeSchema>[];
}

export class AttachServer {
  readonly starts: AttachStart[] = [];
  /** The messages of the client besides input, and the ends of calls. */
  readonly events: string[] = [];
  input = Buffer.alloc(0);
  #openCalls = 0;
  readonly #certs: Certificates;
  readonly #behavior: Behavior;

  constructor(certs: Certificates, behavior: Behavior = {}) {
    this.#certs = certs;
    this.#behavior = behavior;
  }

  get methods(): Methods {
    return { attachJob: (requests) => this.#attach(requests) };
  }

  async start(): Promise<TestServer> {
    return await TestServer.start(this.#certs, this.methods);
  }

  /** Waits for the next event that is not consumed. */
  async event(): Promise<string> {
    while (this.events.length === 0) {
      await sleep(1);
    }
    return this.events.shift() as string;
  }

  /** Waits until no call is open. */
  async idle(): Promise<void> {
    while (this.#openCalls > 0) {
      await sleep(1);
    }
  }

  async *#attach(requests: AsyncIterable<AttachJobRequest>): AsyncGenerator<Response> {
    this.#openCalls += 1;
    try {
      yield* this.#serve(requests);
    } finally {
      this.#openCalls -= 1;
      this.events.push("end");
    }
  }

  async *#serve(requests: AsyncIterable<AttachJobRequest>): AsyncGenerator<Response> {
    const { faults = [], silent, refusal } = this.#behavior;
    const fault = faults[this.starts.length];
    let [parts, sent] = [0, 0];
    for await (const { kind } of requests) {
      switch (kind.case) {
        case "start":
          this.starts.push(kind.value);
          sent = Number(kind.value.offset);
          if (fault?.part === 0) {
            throw unavailable();
          }
          yield* this.#answerStart(kind.value);
          break;
        case "input":
          parts += 1;
          if (refusal) {
            throw refusal;
          }
          if (silent) {
            this.events.push(`input ${kind.value.data.length}`);
            break;
          }
          this.#accept(kind.value, parts === fault?.part ? fault.accepts : undefined);
          if (parts === fault?.part) {
            throw unavailable();
          }
          if (sent < this.input.length) {
            yield { kind: { case: "output", value: output(sent, this.input.subarray(sent).toString()) } };
            sent = this.input.length;
          }
          yield accepted(kind.value.offset + BigInt(kind.value.data.length));
          break;
        case "eof":
          parts += 1;
          if (parts === fault?.part) {
            throw unavailable();
          }
          yield accepted(kind.value.offset);
          yield { kind: { case: "output", value: RESULT } };
          return;
        case "signal":
          this.events.push(kind.value.name);
          break;
        case "resize":
          this.events.push(`${kind.value.columns}x${kind.value.rows}${kind.value.redraw ? " redraw" : ""}`);
          break;
        case "detach":
          this.events.push("detach");
          if (!silent) {
            return;
          }
      }
    }
  }

  *#answerStart({ inputId }: AttachStart): Generator<Response> {
    for (const size of this.#behavior.sizes ?? []) {
      yield { kind: { case: "resized", value: size } };
    }
    if (inputId) {
      yield accepted(this.#behavior.closedStdin ? 0n : BigInt(this.input.length));
    }
  }

  /** Accepts the bytes of a chunk that the server does not have yet. */
  #accept({ offset, data }: InputChunk, count = data.length): void {
    const known = this.input.length - Number(offset);
    if (known < 0) {
      throw new Error(`a gap of ${-known} bytes`);
    }
    this.input = Buffer.concat([this.input, data.subarray(known, Math.max(known, count))]);
  }
}

function accepted(offset: bigint): Response {
  return { kind: { case: "inputAccepted", value: { offset } } };
}
