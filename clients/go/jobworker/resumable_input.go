package jobworker

import jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"

const (
	// maxInputBytes is the size of a piece of the input that the server accepts.
	maxInputBytes = 64 << 10
	// maxUnanswered is how many pieces the server takes before it has answered the first of them.
	maxUnanswered = 4
)

// inputPart is a piece of the input, or its end.
type inputPart struct {
	// data is what the server has not accepted of the piece.
	data []byte
	size int
	end  bool
}

// resumableInput sends the input of one job over as many calls as needed. The server counts the bytes that it has
// accepted of each input id, so that a call continues where the last one broke.
//
// Only the goroutine that sends the messages of the open call uses offset and pending.
type resumableInput struct {
	// parts takes the next part. The end follows after everything else has been accepted.
	parts chan inputPart
	// accepted reports the size of each part that the server has accepted.
	accepted chan int

	// offset is the position of the first pending part in the input.
	offset int64
	// pending has the parts that the server has not accepted, in order.
	pending []inputPart
}

func newResumableInput() *resumableInput {
	return &resumableInput{parts: make(chan inputPart), accepted: make(chan int, maxUnanswered)}
}

// request returns the message for a pending part.
func (i *resumableInput) request(index int) *jobworkerv1.AttachJobRequest {
	offset := i.offset
	for _, earlier := range i.pending[:index] {
		offset += int64(len(earlier.data))
	}
	if i.pending[index].end {
		end := &jobworkerv1.InputEnd{Offset: offset}
		return &jobworkerv1.AttachJobRequest{Kind: &jobworkerv1.AttachJobRequest_Eof{Eof: end}}
	}
	chunk := &jobworkerv1.InputChunk{Offset: offset, Data: i.pending[index].data}
	return &jobworkerv1.AttachJobRequest{Kind: &jobworkerv1.AttachJobRequest_Input{Input: chunk}}
}

// accept removes the parts up to the offset that the server has accepted, and returns how many. The end is removed if
// the answer is the reply to it.
//
// The first answer of a call is a reply to no part, but can accept bytes that an earlier call has sent. If the job has
// closed its stdin, this answer is 0.
func (i *resumableInput) accept(offset int64, repliesToEnd bool) int {
	removed := 0
	for len(i.pending) > 0 {
		part := &i.pending[0]
		count := min(max(offset-i.offset, 0), int64(len(part.data)))
		i.offset += count
		part.data = part.data[count:]
		if len(part.data) > 0 || part.end && !repliesToEnd {
			break
		}
		i.accepted <- part.size
		i.pending = i.pending[1:]
		removed++
	}
	return removed
}
