package jobworker

import (
	"time"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

// Chunk is a piece of a job's output, or a range of output that the server no longer has.
type Chunk struct {
	// Offset is the position of the chunk in the log, which counts the bytes of stdout and stderr together.
	Offset int64
	// Data is the output. It can end anywhere, even inside a line or a UTF-8 sequence. Empty if Truncated is set.
	Data []byte
	// Source is the stream that the job wrote Data to.
	Source jobworkerv1.OutputSource
	// Time is when the server read the first byte of Data. It read the other bytes at most 10 ms later.
	Time time.Time
	// Truncated is the missing range and the reason. Nil if the chunk has Data.
	Truncated *jobworkerv1.TruncatedRange
}

// end returns the offset of the first byte after the chunk.
func (c Chunk) end() int64 {
	if c.Truncated != nil {
		return c.Truncated.GetToOffset()
	}
	return c.Offset + int64(len(c.Data))
}

// splitMessage returns the output of a message as chunks of one source and one time. A message to a reader
// that is behind can contain output of both sources and of any period.
func splitMessage(message *jobworkerv1.GetJobsStreamResponse) []Chunk {
	data, offset, source := message.GetPayload(), message.GetOffset(), message.GetSource()
	spans, times := message.GetSpanBytes(), message.GetSpanOffsetUsec()
	runs, left := message.GetSourceRunBytes(), len(data)
	if len(runs) > 0 {
		left = sum(runs)
	}
	// If the request selects a source, the runs of the other source are counted but not sent.
	skips := left > len(data)
	span, run, moment := popLength(&spans, left), popLength(&runs, left), time.Time{}
	if message.GetTime() != nil {
		moment = message.GetTime().AsTime()
	}
	first, chunks := moment, make([]Chunk, 0, 1+len(spans)+len(runs))
	for left > 0 {
		length := min(span, run)
		if !skips || source == message.GetSource() {
			chunks = append(chunks, Chunk{Offset: offset, Data: data[:length:length], Source: source, Time: moment})
			data = data[length:]
		}
		left, offset, span, run = left-length, offset+int64(length), span-length, run-length
		if span == 0 && len(spans) > 0 {
			times = times[1:]
			span, moment = popLength(&spans, left), first.Add(time.Duration(times[0])*time.Microsecond)
		}
		if run == 0 && len(runs) > 0 {
			run, source = popLength(&runs, left), otherSource(source)
		}
	}
	return chunks
}

func sum(lengths []int32) int {
	total := 0
	for _, length := range lengths {
		total += int(length)
	}
	return total
}

// popLength removes and returns the first length. An empty list means one part of all bytes that are left.
func popLength(lengths *[]int32, left int) int {
	if len(*lengths) == 0 {
		return left
	}
	first := int((*lengths)[0])
	*lengths = (*lengths)[1:]
	return first
}

func otherSource(source jobworkerv1.OutputSource) jobworkerv1.OutputSource {
	if source == jobworkerv1.OutputSource_OUTPUT_SOURCE_STDOUT {
		return jobworkerv1.OutputSource_OUTPUT_SOURCE_STDERR
	}
	return jobworkerv1.OutputSource_OUTPUT_SOURCE_STDOUT
}
