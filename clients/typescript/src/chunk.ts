/** What a reader of a job's output gets. */
import { timestampDate } from "@bufbuild/protobuf/wkt";
import {
  type GetJobsStreamResponse,
  OutputSource,
  type TruncatedRange as RangeMessage,
} from "./gen/jobworker/v1/job_service_pb.js";

/** One of a job's two output streams. */
export type Source = "stdout" | "stderr";

/** Bytes that the server does not have any more, from `from` up to but without `to`. */
export interface TruncatedRange {
  readonly from: number;
  readonly to: number;
  /** Why they are missing, in one sentence. */
  readonly reason: string;
}

/** A piece of a job's output, as the job wrote it: any bytes, cut anywhere. */
export interface Output {
  readonly data: Uint8Array;
  /** The position of the first byte of `data` in the log, from 0 over both streams together. */
  readonly offset: number;
  readonly source: Source;
  /** When the server read the first byte of `data` from the job; the others within 10 ms. */
  readonly time: Date;
  readonly truncated?: never;
}

/** In place of output that is not there any more. */
export interface Gap {
  /** Empty. */
  readonly data: Uint8Array;
  readonly offset: number;
  readonly source?: never;
  readonly time?: never;
  readonly truncated: TruncatedRange;
}

/** What a stream consists of. `data` may be used of both; `truncated` tells of a gap. */
export type Chunk = Output | Gap;

/**
 * Yields the output of a message in order. Each piece has one source and, to 10 ms, one time: a message to a
 * reader that is behind may have output of both sources, and of any time.
 */
export function* outputOf(message: GetJobsStreamResponse): Generator<Output, void, undefined> {
  const runs = ends(message.sourceRunBytes, message.payload.length);
  const told = runs.at(-1) as number;
  const spans = ends(message.spanBytes, told);
  // With a source in the request, the other source's runs are counted, and their bytes left out.
  const skips = told > message.payload.length;
  const time = message.time ? timestampDate(message.time).getTime() : 0;
  let [begin, span, run, taken] = [0, 0, 0, 0];
  while (begin < told) {
    const end = Math.min(spans[span] as number, runs[run] as number);
    if (!skips || run % 2 === 0) {
      yield {
        data: message.payload.subarray(taken, taken + end - begin),
        offset: Number(message.offset) + begin,
        source: (message.source === OutputSource.STDERR) === (run % 2 === 0) ? "stderr" : "stdout",
        time: new Date(time + Number(message.spanOffsetUsec[span] ?? 0n) / 1000),
      };
      taken += end - begin;
    }
    begin = end;
    span += Number(end === spans[span]);
    run += Number(end === runs[run]);
  }
}

/** Returns where each part ends; without lengths, all is one part. */
function ends(lengths: readonly number[], all: number): number[] {
  let end = 0;
  return lengths.length ? lengths.map((length) => (end += length)) : [all];
}

/** Returns what stands for a range that the server does not have. */
export function gapOf(range: RangeMessage): Gap {
  const from = Number(range.fromOffset);
  return {
    data: new Uint8Array(),
    offset: from,
    truncated: { from, to: Number(range.toOffset), reason: range.reason },
  };
}
