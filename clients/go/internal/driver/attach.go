package main

import (
	"context"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
	"github.com/jobworker/jobworker/clients/go/jobworker"
)

// attach sends input to a job, and describes its output until the end of the job or the limit.
func attach(ctx context.Context, client *jobworker.Client, op operation) (any, error) {
	start := &jobworkerv1.AttachStart{Id: op.ID, TakeOver: op.TakeOver}
	if len(op.Size) == 2 {
		start.Size = &jobworkerv1.TerminalSize{Columns: op.Size[0], Rows: op.Size[1]}
	}
	var attachment *jobworker.Attachment
	if op.Input == nil {
		attachment = client.AttachWithoutInput(ctx, start)
	} else {
		attachment = client.Attach(ctx, start)
		go writeInput(attachment, op)
	}
	defer attachment.Detach()
	return read(attachment.Output, op.DetachAfterBytes, func() error {
		if len(op.Redraw) == 2 {
			return attachment.Redraw(op.Redraw[0], op.Redraw[1])
		}
		if op.Signal == "" {
			return nil
		}
		return attachment.Signal(op.Signal)
	})
}

// writeInput writes the input. The output reports its errors.
func writeInput(attachment *jobworker.Attachment, op operation) {
	if _, err := attachment.Write(op.Input); err == nil && (op.EOF == nil || *op.EOF) {
		_ = attachment.Close()
	}
}
