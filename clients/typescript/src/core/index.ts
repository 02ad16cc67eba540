/** The names that the clients for Node and for browsers share. */
export { durationFromMs, durationMs, timestampDate } from "@bufbuild/protobuf/wkt";
export type { Node, NodeCondition, NodeResources } from "../gen/jobworker/v1/cluster_service_pb.js";
export { ErrorReason } from "../gen/jobworker/v1/error_reason_pb.js";
export * from "../gen/jobworker/v1/job_pb.js";
export {
  type CreateJobRequest,
  CreateJobRequestSchema,
  type UpdateJobRequest,
  UpdateJobRequestSchema,
} from "../gen/jobworker/v1/job_service_pb.js";
export { RemovalReason } from "../gen/jobworker/v1/job_watch_pb.js";
export type { TerminalSize } from "./attach_messages.js";
export type { ResizeOptions } from "./attachment.js";
export type { CallOptions } from "./call_context.js";
export type { Chunk, OutputChunk, Source, TruncatedChunk, TruncatedRange } from "./chunk.js";
export type {
  AttachOptions,
  JobFilter,
  JobRequest,
  LimitChanges,
  StopOptions,
  StreamOptions,
  WatchFilter,
} from "./client.js";
export { type Code, ConfigError, type FieldViolation, JobWorkerError, type Reason } from "./errors.js";
export type { JobStream } from "./job_stream.js";
export type { JobChanged, JobRemoved, JobWatch, WatchEvent, WatchSynced } from "./job_watch.js";
