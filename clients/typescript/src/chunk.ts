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
  /** When the server read the first byte of `data` from the job. */
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

/** Returns the piece of output that a message with a payload has. */
export function outputOf(message: GetJobsStreamResponse): Output {
  return {
    data: message.payload,
    offset: Number(message.offset),
    source: message.source === OutputSource.STDERR ? "stderr" : "stdout",
    time: message.time ? timestampDate(message.time) : new Date(0),
  };
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
