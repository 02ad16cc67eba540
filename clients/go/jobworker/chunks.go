package jobworker

import (
	"time"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

// end returns the offset behind the chunk.
func (c Chunk) end() int64 {
	if c.Truncated != nil {
		return c.Truncated.GetToOffset()
	}
	return c.Offset + int64(len(c.Data))
}

// chunks returns the output of a message in order. Each chunk has one source and, to 10 ms, one time: a
// message to a reader that is behind may have output of both sources, and of any time.
func chunks(message *jobworkerv1.GetJobsStreamResponse) []Chunk {
	data, offset, source := message.GetPayload(), message.GetOffset(), message.GetSource()
	spans, times := message.GetSpanBytes(), message.GetSpanOffsetUsec()
	runs, told := message.GetSourceRunBytes(), len(data)
	if len(runs) > 0 {
		told = sum(runs)
	}
	// With a source in the request, the other source's runs are counted, and their bytes left out.
	skips := told > len(data)
	span, run, moment := part(&spans, told), part(&runs, told), time.Time{}
	if message.GetTime() != nil {
		moment = message.GetTime().AsTime()
	}
	first, found := moment, make([]Chunk, 0, 1+len(spans)+len(runs))
	for told > 0 {
		length := min(span, run)
		if !skips || source == message.GetSource() {
			found = append(found, Chunk{Offset: offset, Data: data[:length:length], Source: source, Time: moment})
			data = data[length:]
		}
		told, offset, span, run = told-length, offset+int64(length), span-length, run-length
		if span == 0 && len(spans) > 0 {
			times = times[1:]
			span, moment = part(&spans, told), first.Add(time.Duration(times[0])*time.Microsecond)
		}
		if run == 0 && len(runs) > 0 {
			run, source = part(&runs, told), other(source)
		}
	}
	return found
}

func sum(lengths []int32) int {
	total := 0
	for _, length := range lengths {
		total += int(length)
	}
	return total
}

// part removes and returns the first length; without lengths, all that is left is one part.
func part(lengths *[]int32, left int) int {
	if len(*lengths) == 0 {
		return left
	}
	first := int((*lengths)[0])
	*lengths = (*lengths)[1:]
	return first
}

func other(source jobworkerv1.OutputSource) jobworkerv1.OutputSource {
	if source == jobworkerv1.OutputSource_OUTPUT_SOURCE_STDOUT {
		return jobworkerv1.OutputSource_OUTPUT_SOURCE_STDERR
	}
	return jobworkerv1.OutputSource_OUTPUT_SOURCE_STDOUT
}
