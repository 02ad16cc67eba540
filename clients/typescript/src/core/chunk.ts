/** The chunks of a job's output. */
import { timestampDate } from "@bufbuild/protobuf/wkt";
import {
  OutputSource,
  type TruncatedRange as TruncatedRangeMessage,
} from "../gen/jobworker/v1/job_output_pb.js";
import type { GetJobsStreamResponse } from "../gen/jobworker/v1/job_service_pb.js";

/** One of a job's two output streams. */
export type Source = "stdout" | "stderr";

/** Output that the server no longer has. */
export interface TruncatedRange {
  /** The offset of the first missing byte. */
  readonly fromOffset: number;
  /** The offset of the first byte after the range. */
  readonly toOffset: number;
  /** Why the bytes are missing, in one sentence. */
  readonly reason: string;
}

/** A piece of a job's output. */
export interface OutputChunk {
  /** The output. It can end anywhere, even inside a line or a UTF-8 sequence. */
  readonly data: Uint8Array;
  /** The offset of the first byte in the log, which counts the bytes of stdout and stderr together. */
  readonly offset: number;
  /** The stream that the job wrote `data` to. */
  readonly source: Source;
  /** When the server read the first byte of `data`. It read the other bytes at most 10 ms later. */
  readonly time: Date;
  readonly truncated?: never;
}

/** Takes the place of output that the server no longer has. */
export interface TruncatedChunk {
  /** Empty. */
  readonly data: Uint8Array;
  /** The offset of the first missing byte. */
  readonly offset: number;
  readonly source?: never;
  readonly time?: never;
  /** The missing range. */
  readonly truncated: TruncatedRange;
}

/** An element of a `JobStream`. Both kinds have `data`; only a `TruncatedChunk` has `truncated`. */
export type Chunk = OutputChunk | TruncatedChunk;

/**
 * Yields the output of a message as chunks of one source and one time. A message to a reader that is behind can
 * contain output of both sources and of any period.
 */
export function* splitMessage(
  message: GetJobsStreamResponse,
  payload: Uint8Array,
): Generator<OutputChunk, void, undefined> {
  const runs = endsOf(message.sourceRunBytes, payload.length);
  const total = runs.at(-1) as number;
  const spans = endsOf(message.spanBytes, total);
  // If the request selects a source, the runs of the other source are counted but not sent.
  const skips = total > payload.length;
  const time = message.time ? timestampDate(message.time).getTime() : 0;
  let [begin, span, run, used] = [0, 0, 0, 0];
  while (begin < total) {
    const end = Math.min(spans[span] as number, runs[run] as number);
    if (!skips || run % 2 === 0) {
      yield {
        data: payload.subarray(used, used + end - begin),
        offset: Number(message.offset) + begin,
        source: (message.source === OutputSource.STDERR) === (run % 2 === 0) ? "stderr" : "stdout",
        time: new Date(time + Number(message.spanOffsetUsec[span] ?? 0n) / 1000),
      };
      used += end - begin;
    }
    begin = end;
    span += Number(end === spans[span]);
    run += Number(end === runs[run]);
  }
}

/** Returns the end of each part. An empty list means one part of `total` bytes. */
function endsOf(lengths: readonly number[], total: number): number[] {
  let end = 0;
  return lengths.length ? lengths.map((length) => (end += length)) : [total];
}

/** Returns the chunk for a range that the server no longer has. */
export function truncatedChunk(range: TruncatedRangeMessage): TruncatedChunk {
  const fromOffset = Number(range.fromOffset);
  return {
    data: new Uint8Array(),
    offset: fromOffset,
    truncated: { fromOffset, toOffset: Number(range.toOffset), reason: range.reason },
  };
}
