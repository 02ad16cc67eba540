/** The errors of the clients, and their conversion from the errors of the server. */
import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code as ConnectCode, type ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../gen/google/rpc/error_details_pb.js";
import { ErrorReason } from "../gen/jobworker/v1/error_reason_pb.js";

// The index is the number of the code: https://grpc.io/docs/guides/status-codes/.
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

/** The names of the values of `ErrorReason`. A newer server can send others. */
export type Reason = Exclude<keyof typeof ErrorReason, "UNSPECIFIED"> | (string & {});

/** A request field that the server refused. */
export interface FieldViolation {
  /** The name of the field in the proto, such as `max_cpu`. */
  readonly field: string;
  /** The reason. */
  readonly description: string;
}

interface Details {
  readonly reason?: string;
  readonly fields?: readonly FieldViolation[];
  readonly metadata?: Readonly<Record<string, string>>;
  readonly retryable?: boolean;
  readonly retryDelayMs?: number;
  readonly cause?: unknown;
}

/** A failed call. */
export class JobWorkerError extends Error {
  override readonly name = "JobWorkerError";
  /** The gRPC status code. UNAVAILABLE if the connection failed. */
  readonly code: Code;
  /** The reason in `google.rpc.ErrorInfo`. Empty if the error is not from the server. */
  readonly reason: Reason;
  /** The request fields that the server refused, from `google.rpc.BadRequest`. */
  readonly fields: readonly FieldViolation[];
  /** Details of the reason, such as the id of the job, from `google.rpc.ErrorInfo`. */
  readonly metadata: Readonly<Record<string, string>>;
  /** True if the same call can succeed later. The client has already retried it. */
  readonly retryable: boolean;
  /**
   * The time after which the server expects a retry to succeed, from `google.rpc.RetryInfo`. 0 if it names none. The
   * client retries only errors that are `retryable`.
   */
  readonly retryDelayMs: number;

  constructor(message: string, code: Code, details: Details = {}) {
    super(message, { cause: details.cause });
    this.code = code;
    this.reason = details.reason ?? "";
    this.fields = details.fields ?? [];
    this.metadata = details.metadata ?? {};
    this.retryable = details.retryable ?? false;
    this.retryDelayMs = details.retryDelayMs ?? 0;
  }

  /** The reason as a value of the enum, for a switch. `UNSPECIFIED` if the enum lacks the reason. */
  get errorReason(): ErrorReason {
    const reason = Object.entries(ErrorReason).find(([name]) => name === this.reason)?.[1];
    return typeof reason === "number" ? reason : ErrorReason.UNSPECIFIED;
  }
}

/** An unusable configuration. The message says how to correct it. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** Converts an error that the server sent. */
export function fromServer(error: ConnectError): JobWorkerError {
  const info = error.findDetails(ErrorInfoSchema)[0];
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  const violations = error.findDetails(BadRequestSchema).flatMap((bad) => bad.fieldViolations);
  return new JobWorkerError(error.rawMessage, CODES[error.code] ?? "UNKNOWN", {
    reason: info?.reason ?? "",
    fields: violations.map(({ field, description }) => ({ field, description })),
    metadata: info?.metadata ?? {},
    retryable: error.code === ConnectCode.Unavailable,
    retryDelayMs: delay ? durationMs(delay) : 0,
    cause: error,
  });
}
