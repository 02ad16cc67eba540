package jobworker

import "time"

// patience is how long a stream is tried for while there is no server.
type patience struct {
	// At the start, where the server most likely is not there at all.
	connect time.Duration
	// Once it has been there, where somebody is restarting it.
	resume time.Duration
	// A call that lived that long was a good one, even if the job was silent.
	good time.Duration
	// Between the attempts; the last one again and again.
	pauses []time.Duration
}

func defaultPatience() patience {
	return patience{
		connect: 2 * time.Second,
		resume:  30 * time.Second,
		good:    10 * time.Second,
		pauses: []time.Duration{
			100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second,
		},
	}
}

// trials are the attempts of one stream.
type trials struct {
	giveUp   time.Time
	opened   time.Time
	progress bool
	failures int
}

// begin starts the time in which there must be a connection, unless it runs.
func (t *trials) begin(p patience) {
	if t.giveUp.IsZero() {
		t.giveUp = time.Now().Add(p.connect)
	}
}

// connected notes that a call has a connection.
func (t *trials) connected() { t.opened = time.Now() }

// received notes that the server answers.
func (t *trials) received() { t.progress = true }

// failed returns the pause before the next attempt, and false when it is too late for one.
func (t *trials) failed(p patience) (time.Duration, bool) {
	now := time.Now()
	silent := !t.opened.IsZero() && now.Sub(t.opened) > p.good
	if t.progress || silent {
		t.giveUp, t.failures = now.Add(p.resume), 0
	}
	t.progress, t.opened = false, time.Time{}
	pause := p.pauses[min(t.failures, len(p.pauses)-1)]
	t.failures++
	return min(pause, t.giveUp.Sub(now)), now.Before(t.giveUp)
}
