/** Conversion of the errors of a call over HTTP/2. */
import { Code as ConnectCode, ConnectError } from "@connectrpc/connect";
import { fromServer, JobWorkerError } from "../core/errors.js";

// Errors that a retry does not fix: an unknown host name, or a certificate that one side does not trust.
const PERMANENT =
  /^(ENOTFOUND|ERR_TLS_|ERR_SSL_|EPROTO$|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_INVALID_)/;

// The codes that Connect uses for a broken connection, between messages and inside them.
const BROKEN_CONNECTION: ReadonlySet<ConnectCode> = new Set([
  ConnectCode.Aborted,
  ConnectCode.Canceled,
  ConnectCode.Internal,
  ConnectCode.InvalidArgument,
  ConnectCode.Unavailable,
]);

/** Converts the error of a failed call to `server` (`HOST:PORT`). */
export function fromCall(error: unknown, server: string): JobWorkerError {
  if (error instanceof JobWorkerError) {
    return error;
  }
  const failure = ConnectError.from(error);
  return !isFromServer(failure) && BROKEN_CONNECTION.has(failure.code)
    ? unreachable(failure, server)
    : fromServer(failure);
}

/** Returns the error for a connection that failed. */
function unreachable(error: unknown, server: string): JobWorkerError {
  const cause = rootCause(error);
  const permanent = "code" in cause && PERMANENT.test(String(cause.code));
  return new JobWorkerError(`cannot connect to jobworkerd at ${server}: ${messageOf(cause)}`, "UNAVAILABLE", {
    retryable: !permanent,
    cause: error,
  });
}

function messageOf(cause: Error): string {
  if (!(cause instanceof ConnectError)) {
    return cause.message.trim();
  }
  // In TLS 1.3 the client's handshake ends before the server has checked the client's certificate.
  return cause.code === ConnectCode.Canceled
    ? "the server closed the connection, as it does if it refuses the client's certificate"
    : cause.rawMessage;
}

/** Reports whether the server sent the status. Connect keeps the headers and trailers of such an error. */
function isFromServer(error: ConnectError): boolean {
  return error.metadata.has("grpc-status") || error.metadata.has("grpc-status-details-bin");
}

function rootCause(error: unknown): Error {
  let cause = error instanceof Error ? error : new Error(String(error));
  while (cause.cause instanceof Error && cause.cause !== cause) {
    cause = cause.cause;
  }
  return cause;
}
