package jobworker

import jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"

// maxInputBytes is the size of a piece of the input that the server accepts.
const maxInputBytes = 64 << 10

// inputPart is a piece of the input, or its end.
type inputPart struct {
	data []byte
	end  bool
}

// resumableInput sends the input of one job over as many calls as needed. The server counts the bytes that it has
// accepted of each input id, so that a call continues where the last one broke.
//
// Only the goroutine that sends the messages of the open call uses offset and part.
type resumableInput struct {
	// parts takes the next part when the server has accepted the last one.
	parts chan inputPart
	// accepted reports that the server has accepted the part.
	accepted chan struct{}

	// offset is the position of the part in the input.
	offset int64
	part   *inputPart
}

func newResumableInput() *resumableInput {
	return &resumableInput{parts: make(chan inputPart), accepted: make(chan struct{}, 1)}
}

// request returns the message for the part.
func (i *resumableInput) request() *jobworkerv1.AttachJobRequest {
	if i.part.end {
		end := &jobworkerv1.InputEnd{Offset: i.offset}
		return &jobworkerv1.AttachJobRequest{Kind: &jobworkerv1.AttachJobRequest_Eof{Eof: end}}
	}
	chunk := &jobworkerv1.InputChunk{Offset: i.offset, Data: i.part.data}
	return &jobworkerv1.AttachJobRequest{Kind: &jobworkerv1.AttachJobRequest_Input{Input: chunk}}
}

// accept processes an answer of the server. The first answer of a call is not a reply to a part, but can accept bytes
// of it that an earlier call has sent. If the job has closed its stdin, this answer is 0.
func (i *resumableInput) accept(offset int64, isReply bool) {
	if i.part == nil {
		return
	}
	count := min(max(offset-i.offset, 0), int64(len(i.part.data)))
	i.offset += count
	i.part.data = i.part.data[count:]
	if len(i.part.data) == 0 && (isReply || !i.part.end) {
		i.part = nil
		i.accepted <- struct{}{}
	}
}
