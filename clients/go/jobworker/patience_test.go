package jobworker

import (
	"testing"
	"testing/synctest"
	"time"
)

// lasts returns how long one failure after the other is borne; in a bubble of package synctest time passes
// only where we sleep.
func lasts(t *trials) time.Duration {
	began := time.Now()
	for {
		t.begin(defaultPatience())
		pause, ok := t.failed(defaultPatience())
		if !ok {
			return time.Since(began)
		}
		time.Sleep(pause)
	}
}

func TestServerThatNeverWasThereIsGivenUpSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		equal(t, lasts(&trials{}), 2*time.Second)
	})
}

func TestServerThatWasThereIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tried := &trials{}
		tried.begin(defaultPatience())
		time.Sleep(time.Hour)
		tried.received()
		equal(t, lasts(tried), 30*time.Second)
	})
}

func TestSilentCallThatLivedWasAGoodOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tried := &trials{}
		tried.begin(defaultPatience())
		tried.connected()
		time.Sleep(11 * time.Second)
		equal(t, lasts(tried), 30*time.Second)
	})
}

func TestSilentCallThatDidNotLiveWasNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tried := &trials{}
		tried.begin(defaultPatience())
		tried.connected()
		time.Sleep(3 * time.Second)
		equal(t, lasts(tried), 0)
	})
}
