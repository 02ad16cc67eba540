package jobworker

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

// Reason is a stable, machine-readable cause of an error, for errors.Is. The proto's enum ErrorReason documents
// the reasons of the server.
type Reason string

// The server's reasons.
var (
	ErrInvalidRequest        = reasonOf(jobworkerv1.ErrorReason_ERROR_REASON_INVALID_REQUEST)
	ErrCommandNotStarted     = reasonOf(jobworkerv1.ErrorReason_ERROR_REASON_COMMAND_NOT_STARTED)
	ErrJobNotFound           = reasonOf(jobworkerv1.ErrorReason_ERROR_REASON_JOB_NOT_FOUND)
	ErrJobNotRunning         = reasonOf(jobworkerv1.ErrorReason_ERROR_REASON_JOB_NOT_RUNNING)
	ErrJobNotFinal           = reasonOf(jobworkerv1.ErrorReason_ERROR_REASON_JOB_NOT_FINAL)
	ErrOffsetOutOfRange      = reasonOf(jobworkerv1.ErrorReason_ERROR_REASON_OFFSET_OUT_OF_RANGE)
	ErrNoStdin               = reasonOf(jobworkerv1.ErrorReason_ERROR_REASON_NO_STDIN)
	ErrStdinInUse            = reasonOf(jobworkerv1.ErrorReason_ERROR_REASON_STDIN_IN_USE)
	ErrInputOffsetOutOfRange = reasonOf(jobworkerv1.ErrorReason_ERROR_REASON_INPUT_OFFSET_OUT_OF_RANGE)
	ErrLimitUnavailable      = reasonOf(jobworkerv1.ErrorReason_ERROR_REASON_LIMIT_UNAVAILABLE)
	ErrTooManyJobs           = reasonOf(jobworkerv1.ErrorReason_ERROR_REASON_TOO_MANY_JOBS)
	ErrQuotaExceeded         = reasonOf(jobworkerv1.ErrorReason_ERROR_REASON_QUOTA_EXCEEDED)
	ErrServerBusy            = reasonOf(jobworkerv1.ErrorReason_ERROR_REASON_SERVER_BUSY)
	ErrMessageTooLarge       = reasonOf(jobworkerv1.ErrorReason_ERROR_REASON_MESSAGE_TOO_LARGE)
	ErrHostExhausted         = reasonOf(jobworkerv1.ErrorReason_ERROR_REASON_HOST_EXHAUSTED)
	ErrRequestIDReused       = reasonOf(jobworkerv1.ErrorReason_ERROR_REASON_REQUEST_ID_REUSED)
	ErrUnauthenticated       = reasonOf(jobworkerv1.ErrorReason_ERROR_REASON_UNAUTHENTICATED)
	ErrCertificateRevoked    = reasonOf(jobworkerv1.ErrorReason_ERROR_REASON_CERTIFICATE_REVOKED)
	ErrRoleRequired          = reasonOf(jobworkerv1.ErrorReason_ERROR_REASON_ROLE_REQUIRED)
	ErrReaderStalled         = reasonOf(jobworkerv1.ErrorReason_ERROR_REASON_READER_STALLED)
	ErrShuttingDown          = reasonOf(jobworkerv1.ErrorReason_ERROR_REASON_SHUTTING_DOWN)
	ErrSupervisorUnavailable = reasonOf(jobworkerv1.ErrorReason_ERROR_REASON_SUPERVISOR_UNAVAILABLE)
	ErrNodeUnreachable       = reasonOf(jobworkerv1.ErrorReason_ERROR_REASON_NODE_UNREACHABLE)
	ErrClusterUnavailable    = reasonOf(jobworkerv1.ErrorReason_ERROR_REASON_CLUSTER_UNAVAILABLE)
	ErrClusterRefused        = reasonOf(jobworkerv1.ErrorReason_ERROR_REASON_CLUSTER_REFUSED)
)

// ErrUnexpectedOffset means that the server sent output at another offset than the client expected.
const ErrUnexpectedOffset Reason = "UNEXPECTED_OFFSET"

const reasonPrefix = "ERROR_REASON_"

func reasonOf(reason jobworkerv1.ErrorReason) Reason {
	return Reason(strings.TrimPrefix(reason.String(), reasonPrefix))
}

// Enum returns the reason as a value of the proto's enum, for a switch. It returns ERROR_REASON_UNSPECIFIED if the
// enum lacks the reason.
func (r Reason) Enum() jobworkerv1.ErrorReason {
	return jobworkerv1.ErrorReason(jobworkerv1.ErrorReason_value[reasonPrefix+string(r)])
}

// Error returns the reason.
func (r Reason) Error() string { return string(r) }

// Error is a failed call. Reason, Fields, Metadata and RetryDelay are empty if the error is not from the server, for
// example if the connection failed.
//
// errors.Is matches a Reason, context.Canceled and context.DeadlineExceeded. status.FromError accepts an Error.
type Error struct {
	// Code is the gRPC status code.
	Code codes.Code
	// Reason is the server's reason.
	Reason Reason
	// Message describes the error in one sentence.
	Message string
	// Fields are the request fields that the server refused.
	Fields []FieldViolation
	// Metadata holds details of the reason, such as the id of the job.
	Metadata map[string]string
	// RetryDelay is the time after which the server expects a retry to succeed. 0 if it names none. The client retries
	// only errors for which Retryable is true.
	RetryDelay time.Duration

	// retries is the number of attempts of the call that had failed before this one.
	retries int
	cause   error
}

// FieldViolation is a request field that the server refused.
type FieldViolation struct {
	// Field is the name of the field in the proto, such as max_cpu.
	Field string
	// Description is the reason.
	Description string
}

// Error returns the message and the reason, or the code if the error has no reason.
func (e *Error) Error() string {
	if e.Reason != "" {
		return fmt.Sprintf("jobworker: %s (%s)", e.Message, e.Reason)
	}
	return fmt.Sprintf("jobworker: %s (%s)", e.Message, e.Code)
}

// Is reports whether the target is the error's reason or its context error.
func (e *Error) Is(target error) bool {
	switch target {
	case context.Canceled:
		return e.Code == codes.Canceled
	case context.DeadlineExceeded:
		return e.Code == codes.DeadlineExceeded
	}
	reason, ok := target.(Reason)
	return ok && e.Reason == reason
}

// Unwrap returns the gRPC status error.
func (e *Error) Unwrap() error { return e.cause }

// Retryable reports whether the same call can succeed later. Clients have already retried it.
//
// A handshake that fails because of a certificate is not retryable. gRPC reports it only in the text of the
// message, with the prefixes of packages tls and x509.
func (e *Error) Retryable() bool {
	badCertificate := strings.Contains(e.Message, "tls: ") || strings.Contains(e.Message, "x509: ")
	return e.Code == codes.Unavailable && (e.Reason != "" || !badCertificate)
}

// TruncatedError is the last error of JobStream.Read if the server no longer had part of the output.
type TruncatedError struct {
	// Ranges are the missing ranges, in order.
	Ranges []*jobworkerv1.TruncatedRange
}

// Error describes the first range.
func (e *TruncatedError) Error() string {
	first := e.Ranges[0]
	return fmt.Sprintf("jobworker: output is truncated: %d bytes are missing at offset %d: %s (%d ranges in total)",
		first.GetToOffset()-first.GetFromOffset(), first.GetFromOffset(), first.GetReason(), len(e.Ranges))
}

// fromRPC converts the error of a failed call.
func fromRPC(err error) *Error {
	failed, _ := status.FromError(err)
	failure := &Error{Code: failed.Code(), Message: failed.Message(), cause: err}
	for _, detail := range failed.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			failure.Reason, failure.Metadata = Reason(detail.GetReason()), detail.GetMetadata()
		case *errdetails.BadRequest:
			failure.Fields = violations(detail)
		case *errdetails.RetryInfo:
			failure.RetryDelay = detail.GetRetryDelay().AsDuration()
		}
	}
	return failure
}

func violations(bad *errdetails.BadRequest) []FieldViolation {
	var fields []FieldViolation
	for _, each := range bad.GetFieldViolations() {
		fields = append(fields, FieldViolation{each.GetField(), each.GetDescription()})
	}
	return fields
}
