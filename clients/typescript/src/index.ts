/** The client of the Job Worker Service, and the messages that it returns. */
export { durationFromMs, durationMs, timestampDate } from "@bufbuild/protobuf/wkt";
export type { Chunk, Gap, Output, Source, TruncatedRange } from "./chunk.js";
export {
  Client,
  type JobFilter,
  type JobRequest,
  type LimitChanges,
  type StopOptions,
  type StreamOptions,
} from "./client.js";
export { type Code, ConfigurationError, type FieldViolation, JobWorkerError, type Reason } from "./errors.js";
export * from "./gen/jobworker/v1/job_pb.js";
export { type CreateJobRequest, CreateJobRequestSchema } from "./gen/jobworker/v1/job_service_pb.js";
export type { JobStream } from "./job_stream.js";
export type { CallOptions } from "./scope.js";
export type { ClientOptions, Role } from "./settings.js";
