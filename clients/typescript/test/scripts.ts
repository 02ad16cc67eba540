/** A server that plays scripted streams. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Chunk, JobStatus } from "@jobworker/client";
import { OutputSource } from "../src/gen/jobworker/v1/job_output_pb.js";
import type {
  GetJobsStreamRequest,
  GetJobsStreamResponseSchema,
} from "../src/gen/jobworker/v1/job_service_pb.js";
import { type Certificates, type Methods, TestServer } from "./server.js";

export type Message = MessageInitShape<typeof GetJobsStreamResponseSchema>;

export const RESULT: Message = {
  kind: { case: "result", value: { id: "1", status: JobStatus.COMPLETED, exitCode: 0 } },
};

export function output(offset: number, text: string, source = OutputSource.STDOUT): Message {
  return {
    offset: BigInt(offset),
    kind: { case: "payload", value: Buffer.from(text) },
    source,
    time: { seconds: 5n },
  };
}

/** A message to send, an error to fail with, or a wait for the end of the call. */
type Step = Message | Error | "hang";

/** Plays one script per stream and records the requests. */
export class Scripts {
  readonly requests: GetJobsStreamRequest[] = [];
  readonly #certs: Certificates;
  readonly #scripts: readonly Step[][];

  constructor(certs: Certificates, ...scripts: Step[][]) {
    this.#certs = certs;
    this.#scripts = scripts;
  }

  get methods(): Methods {
    return { getJobsStream: (request, { signal }) => this.#play(request, signal) };
  }

  async start(): Promise<TestServer> {
    return await TestServer.start(this.#certs, this.methods);
  }

  async *#play(request: GetJobsStreamRequest, signal: AbortSignal): AsyncGenerator<Message> {
    this.requests.push(request);
    for (const step of this.#scripts[this.requests.length - 1] ?? []) {
      if (step === "hang") {
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      } else if (step instanceof Error) {
        throw step;
      } else {
        yield step;
      }
    }
  }
}

/** Reads a stream to its end and returns the output as text. */
export async function textOf(
  stream: AsyncIterable<Chunk>,
  onChunk: () => unknown = () => undefined,
): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const chunk of stream) {
    parts.push(chunk.data);
    onChunk();
  }
  return Buffer.concat(parts).toString();
}
