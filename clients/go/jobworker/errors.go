package jobworker

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

// Reason is why a call failed, in a word that never changes: errors.Is(err, ErrJobNotFound). Most are the
// server's; service JobService of the protos says which call fails with which.
type Reason string

// The server's reasons.
const (
	ErrInvalidRequest        Reason = "INVALID_REQUEST"
	ErrCommandNotStarted     Reason = "COMMAND_NOT_STARTED"
	ErrJobNotFound           Reason = "JOB_NOT_FOUND"
	ErrJobNotRunning         Reason = "JOB_NOT_RUNNING"
	ErrOffsetOutOfRange      Reason = "OFFSET_OUT_OF_RANGE"
	ErrLimitUnavailable      Reason = "LIMIT_UNAVAILABLE"
	ErrTooManyJobs           Reason = "TOO_MANY_JOBS"
	ErrHostExhausted         Reason = "HOST_EXHAUSTED"
	ErrRequestIDReused       Reason = "REQUEST_ID_REUSED"
	ErrUnauthenticated       Reason = "UNAUTHENTICATED"
	ErrRoleRequired          Reason = "ROLE_REQUIRED"
	ErrReaderStalled         Reason = "READER_STALLED"
	ErrShuttingDown          Reason = "SHUTTING_DOWN"
	ErrSupervisorUnavailable Reason = "SUPERVISOR_UNAVAILABLE"
)

// ErrWrongOffset is this client's: the server sent other bytes of the output than were due.
const ErrWrongOffset Reason = "WRONG_OFFSET"

// Error returns the word itself.
func (r Reason) Error() string { return string(r) }

// Error is a call that failed, with what the server says about it. Reason, Fields and Metadata are empty
// where it is not the server that says so, as when there is no connection.
//
// errors.Is takes a Reason, context.Canceled or context.DeadlineExceeded; status.FromError takes the Error.
type Error struct {
	Code    codes.Code
	Reason  Reason
	Message string
	// Fields are the values that the server refused.
	Fields []FieldViolation
	// Metadata is what the reason is about, such as the id of the job.
	Metadata map[string]string

	status error
}

// FieldViolation is a field of a request, such as max_cpu, and what is wrong with its value.
type FieldViolation struct {
	Field, Description string
}

// Error returns the server's sentence with its reason, or the code where it gave none.
func (e *Error) Error() string {
	if e.Reason != "" {
		return fmt.Sprintf("jobworker: %s (%s)", e.Message, e.Reason)
	}
	return fmt.Sprintf("jobworker: %s (%s)", e.Message, e.Code)
}

// Is reports whether the error has a Reason, or is the context's end.
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

// Unwrap returns gRPC's status error.
func (e *Error) Unwrap() error { return e.status }

// passing reports whether the same call may succeed in a moment. A handshake that failed over a
// certificate will fail again; gRPC says so in words alone, with those of the packages tls and x509.
func (e *Error) passing() bool {
	overCertificate := strings.Contains(e.Message, "tls: ") || strings.Contains(e.Message, "x509: ")
	return e.Code == codes.Unavailable && (e.Reason != "" || !overCertificate)
}

// TruncatedError ends a Read of output that the server did not have all of any more.
type TruncatedError struct {
	// Ranges are those that are missing between the bytes that were read.
	Ranges []*jobworkerv1.TruncatedRange
}

// Error names the first range.
func (e *TruncatedError) Error() string {
	first := e.Ranges[0]
	return fmt.Sprintf("jobworker: %d bytes of output are missing from byte %d on: %s (%d such ranges)",
		first.GetToOffset()-first.GetFromOffset(), first.GetFromOffset(), first.GetReason(), len(e.Ranges))
}

// fromRPC returns the error of a call that failed.
func fromRPC(err error) *Error {
	failed, _ := status.FromError(err)
	found := &Error{Code: failed.Code(), Message: failed.Message(), status: err}
	for _, detail := range failed.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			found.Reason, found.Metadata = Reason(detail.GetReason()), detail.GetMetadata()
		case *errdetails.BadRequest:
			found.Fields = violations(detail)
		}
	}
	return found
}

func violations(bad *errdetails.BadRequest) []FieldViolation {
	var found []FieldViolation
	for _, each := range bad.GetFieldViolations() {
		found = append(found, FieldViolation{each.GetField(), each.GetDescription()})
	}
	return found
}
