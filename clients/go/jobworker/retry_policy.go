package jobworker

import "time"

// retryPolicy is how often and for how long calls and streams are retried.
type retryPolicy struct {
	// callBackoff holds the delays between the attempts of a unary call.
	callBackoff []time.Duration
	// streamBackoff holds the delays between the attempts of a stream. The last one repeats.
	streamBackoff []time.Duration
	// connectTimeout bounds the retries of a stream that has not reached the server yet.
	connectTimeout time.Duration
	// resumeTimeout bounds the retries of a stream that lost its server, which probably restarts.
	resumeTimeout time.Duration
	// healthyAfter is the age at which a call without messages counts as healthy: its job wrote no output.
	healthyAfter time.Duration
}

func defaultRetryPolicy() retryPolicy {
	return retryPolicy{
		// The sum exceeds the 3 s that a restart of the server takes on a busy host, and is short enough to wait
		// for if no server runs.
		callBackoff:    milliseconds(100, 200, 400, 800, 1000, 1000, 1000),
		streamBackoff:  milliseconds(100, 200, 500, 1000, 2000),
		connectTimeout: 5 * time.Second,
		resumeTimeout:  30 * time.Second,
		healthyAfter:   10 * time.Second,
	}
}

func milliseconds(counts ...int64) []time.Duration {
	var delays []time.Duration
	for _, count := range counts {
		delays = append(delays, time.Duration(count)*time.Millisecond)
	}
	return delays
}

// streamRetry counts the attempts of one stream.
type streamRetry struct {
	policy   retryPolicy
	deadline time.Time
	opened   time.Time
	progress bool
	failures int
}

// start sets the deadline for the first connection. Later calls have no effect.
func (r *streamRetry) start() {
	if r.deadline.IsZero() {
		r.deadline = time.Now().Add(r.policy.connectTimeout)
	}
}

// callOpened records that a call has a connection.
func (r *streamRetry) callOpened() { r.opened = time.Now() }

// messageReceived records that the server answers.
func (r *streamRetry) messageReceived() { r.progress = true }

// nextDelay returns the delay before the next attempt, and false after the deadline.
func (r *streamRetry) nextDelay() (time.Duration, bool) {
	now := time.Now()
	healthy := !r.opened.IsZero() && now.Sub(r.opened) > r.policy.healthyAfter
	if r.progress || healthy {
		r.deadline, r.failures = now.Add(r.policy.resumeTimeout), 0
	}
	r.progress, r.opened = false, time.Time{}
	delay := r.policy.streamBackoff[min(r.failures, len(r.policy.streamBackoff)-1)]
	r.failures++
	return min(delay, r.deadline.Sub(now)), now.Before(r.deadline)
}
