package jobworker

import (
	"testing"
	"testing/synctest"
	"time"
)

// failUntilDeadline returns how long a stream is retried if every attempt fails. It runs in a synctest
// bubble, where time advances only while all goroutines sleep.
func failUntilDeadline(retry *streamRetry) time.Duration {
	began := time.Now()
	for {
		retry.start()
		delay, ok := retry.nextDelay()
		if !ok {
			return time.Since(began)
		}
		time.Sleep(delay)
	}
}

func TestFirstConnectionIsRetriedForTheConnectTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		equal(t, failUntilDeadline(&streamRetry{policy: defaultRetryPolicy()}), 5*time.Second)
	})
}

func TestStreamWithProgressIsRetriedForTheResumeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		retry := &streamRetry{policy: defaultRetryPolicy()}
		retry.start()
		time.Sleep(time.Hour)
		retry.messageReceived()
		equal(t, failUntilDeadline(retry), 30*time.Second)
	})
}

func TestLongSilentCallIsRetriedForTheResumeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		retry := &streamRetry{policy: defaultRetryPolicy()}
		retry.start()
		retry.callOpened()
		time.Sleep(11 * time.Second)
		equal(t, failUntilDeadline(retry), 30*time.Second)
	})
}

func TestShortSilentCallDoesNotExtendTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		retry := &streamRetry{policy: defaultRetryPolicy()}
		retry.start()
		retry.callOpened()
		time.Sleep(6 * time.Second)
		equal(t, failUntilDeadline(retry), 0)
	})
}
