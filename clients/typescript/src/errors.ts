/** From a failed call to the one kind of error that callers meet: the only file that reads Connect's. */
import { Code as ConnectCode, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";

// In the order of their numbers, from 0 on: https://grpc.io/docs/guides/status-codes/.
const CODES = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
] as const;

/** The name of a gRPC status code. */
export type Code = (typeof CODES)[number];

/** The reasons that job_service.proto names. A newer server may send others. */
export type Reason =
  | "COMMAND_NOT_STARTED"
  | "HOST_EXHAUSTED"
  | "INVALID_REQUEST"
  | "JOB_NOT_FOUND"
  | "JOB_NOT_RUNNING"
  | "LIMIT_UNAVAILABLE"
  | "OFFSET_OUT_OF_RANGE"
  | "READER_STALLED"
  | "REQUEST_ID_REUSED"
  | "ROLE_REQUIRED"
  | "SHUTTING_DOWN"
  | "SUPERVISOR_UNAVAILABLE"
  | "TOO_MANY_JOBS"
  | "UNAUTHENTICATED"
  | (string & {});

/** A field of a request, by the name that the proto gives it, and what is wrong with its value. */
export interface FieldViolation {
  readonly field: string;
  readonly description: string;
}

interface Details {
  readonly reason?: string;
  readonly fields?: readonly FieldViolation[];
  readonly metadata?: Readonly<Record<string, string>>;
  readonly retryable?: boolean;
  readonly cause?: unknown;
}

/** A call failed. */
export class JobWorkerError extends Error {
  override readonly name = "JobWorkerError";
  /** The gRPC code. UNAVAILABLE also stands for a connection that could not be made, or was lost. */
  readonly code: Code;
  /** `google.rpc.ErrorInfo.reason`; empty if the server did not send the error. */
  readonly reason: Reason;
  /** `google.rpc.BadRequest`: the fields that the server objects to. */
  readonly fields: readonly FieldViolation[];
  /** `google.rpc.ErrorInfo.metadata`. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Whether the same call may succeed later; the client has tried again already where that is safe. */
  readonly retryable: boolean;

  constructor(message: string, code: Code, details: Details = {}) {
    super(message, { cause: details.cause });
    this.code = code;
    this.reason = details.reason ?? "";
    this.fields = details.fields ?? [];
    this.metadata = details.metadata ?? {};
    this.retryable = details.retryable ?? false;
  }
}

/** The client's options or environment cannot be used; the message says what to do. */
export class ConfigurationError extends Error {
  override readonly name = "ConfigurationError";
}

// What no second attempt cures: nobody has that name, or one side does not trust the other's certificate.
const LASTING =
  /^(ENOTFOUND|ERR_TLS_|ERR_SSL_|EPROTO$|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_INVALID_)/;

// How Connect reports a connection that broke: closed by a reset, between or in the middle of messages.
const BROKEN: ReadonlySet<ConnectCode> = new Set([
  ConnectCode.Aborted,
  ConnectCode.Canceled,
  ConnectCode.Internal,
  ConnectCode.InvalidArgument,
  ConnectCode.Unavailable,
]);

/** Returns the error that tells of a failed call to `server` (`HOST:PORT`). */
export function fromCall(error: unknown, server: string): JobWorkerError {
  if (error instanceof JobWorkerError) {
    return error;
  }
  const failure = ConnectError.from(error);
  if (!isAnswer(failure) && BROKEN.has(failure.code)) {
    return unreachable(failure, server);
  }
  const info = failure.findDetails(ErrorInfoSchema)[0];
  const violations = failure.findDetails(BadRequestSchema).flatMap((bad) => bad.fieldViolations);
  return new JobWorkerError(failure.rawMessage, CODES[failure.code] ?? "UNKNOWN", {
    reason: info?.reason ?? "",
    fields: violations.map(({ field, description }) => ({ field, description })),
    metadata: info?.metadata ?? {},
    retryable: failure.code === ConnectCode.Unavailable,
    cause: error,
  });
}

/** Returns the error for a connection that could not be made, or broke. */
function unreachable(error: unknown, server: string): JobWorkerError {
  const cause = root(error);
  const lasting = "code" in cause && LASTING.test(String(cause.code));
  return new JobWorkerError(`no connection to jobworkerd at ${server}: ${sayingOf(cause)}`, "UNAVAILABLE", {
    retryable: !lasting,
    cause: error,
  });
}

function sayingOf(cause: Error): string {
  if (!(cause instanceof ConnectError)) {
    return cause.message.trim();
  }
  // In TLS 1.3 our handshake is over before the server has looked at our certificate.
  return cause.code === ConnectCode.Canceled
    ? "it was closed, as by a server that refuses our certificate"
    : cause.rawMessage;
}

/** Tells whether a status came from the server: Connect keeps the headers and trailers that it was in. */
function isAnswer(error: ConnectError): boolean {
  return error.metadata.has("grpc-status") || error.metadata.has("grpc-status-details-bin");
}

function root(error: unknown): Error {
  let cause = error instanceof Error ? error : new Error(String(error));
  while (cause.cause instanceof Error && cause.cause !== cause) {
    cause = cause.cause;
  }
  return cause;
}
