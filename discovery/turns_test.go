package discovery

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// busy is a backend that takes a minute for each hello.
type busy struct {
	backend
	mu                  sync.Mutex // guards all below
	working, most, done int
}

func (b *busy) Hello(context.Context, Hello) error {
	b.count(1)
	time.Sleep(time.Minute)
	b.count(-1)
	return nil
}

func (b *busy) count(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.working += n; n < 0 {
		b.done++
	}
	b.most = max(b.most, b.working)
}

// Of a fleet that says hello at once so many are worked on, others have their turn later, and nothing is done for those who
// went away while they waited.
func TestMessagesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &busy{}
		h, answers := NewHandler(b), make(chan error)
		crowd := func(ctx context.Context) {
			for i := range atOnce {
				c, err := NewClient("http://server", inMemory{h})
				if err != nil {
					t.Fatal(err)
				}
				c.Timeout = time.Hour
				go func() { answers <- c.Hello(ctx, Hello{Device: fmt.Sprint("d-", i), Product: "p", Hardware: "h"}) }()
			}
			synctest.Wait()
		}
		begun := time.Now()
		crowd(t.Context())
		impatient, leave := context.WithCancel(t.Context())
		crowd(impatient)
		crowd(t.Context())
		leave()
		gone := 0
		for range 3 * atOnce {
			if err := <-answers; err != nil {
				gone++
			}
		}
		if took := time.Since(begun); took != 2*time.Minute || gone != atOnce || b.most != atOnce || b.done != 2*atOnce {
			t.Errorf("%d at once, %d in all, %d gone, in %v; want %d, %d, %d and 2m", b.most, b.done, gone, took, atOnce, 2*atOnce, atOnce)
		}
	})
}

// The more devices wait, the longer those who are told stay away; a server that says nothing, or nonsense, is asked as ever.
func TestPollsThatFollowNewsAreSpread(t *testing.T) {
	for waiters, want := range map[int]time.Duration{0: time.Second, 10_000: 3 * time.Second, 1_000_000: 30 * time.Second} {
		h, c := start(t, &backend{})
		h.board.waiters = waiters
		h.Publish(Notice{Manifest: []byte("m")})
		n, _, err := c.Poll(t.Context(), "")
		if err != nil || n.spread != want {
			t.Errorf("%d waiters: %v, spread over %v, want %v", waiters, err, n.spread, want)
		}
	}
	for said, want := range map[string]time.Duration{"": maxJitter, "-1": maxJitter, "soon": maxJitter, "0": maxJitter, "9999": maxPollSpread * time.Second} {
		if got := pollSpread(http.Header{spreadHeader: {said}}); got != want {
			t.Errorf("%q: %v, want %v", said, got, want)
		}
	}
}

// What nobody waits for any more is not done, and is not answered as if it were: the device is another server's in the next moment.
func TestAbandonedMessageIsNotConfirmed(t *testing.T) {
	b := &backend{}
	h := NewHandler(b)
	for range atOnce {
		h.turns <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, "POST", "/v1/hello", bytes.NewReader(must(encoding.Marshal(Hello{Device: "d", Product: "p", Hardware: "h"}))))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable || b.hello.Device != "" {
		t.Errorf("answer %d, the backend has %+v; want 503 and nothing", w.Code, b.hello)
	}
}

// A body that does not come in time, or breaks off, is no malformed message: that would be the last word on a vote.
func TestMessageThatBreaksOffIsNotMalformed(t *testing.T) {
	whole := must(encoding.Marshal(Statement{Device: "d", Body: []byte("vote")}))
	for what, c := range map[string]struct {
		body io.Reader
		want int
	}{
		"too slow":   {io.MultiReader(bytes.NewReader(whole[:4]), iotest.ErrReader(os.ErrDeadlineExceeded)), http.StatusServiceUnavailable},
		"broken off": {io.MultiReader(bytes.NewReader(whole[:4]), iotest.ErrReader(io.ErrUnexpectedEOF)), http.StatusServiceUnavailable},
		"too long":   {bytes.NewReader(make([]byte, maxBody+1)), http.StatusBadRequest},
		"malformed":  {bytes.NewReader(whole[:4]), http.StatusBadRequest},
		"whole":      {bytes.NewReader(whole), http.StatusNoContent},
	} {
		w := httptest.NewRecorder()
		NewHandler(&backend{}).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", "/v1/vote", c.body))
		if w.Code != c.want {
			t.Errorf("%s: %d, want %d", what, w.Code, c.want)
		}
	}
}
