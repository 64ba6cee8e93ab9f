package discovery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A told is what a poll that waited got.
type told struct {
	device string
	n      *Notice
	etag   string
	err    error
	after  time.Duration
}

// polls has a device poll in the background.
func polls(t *testing.T, h *Handler, device, etag string, wait time.Duration, got chan told) {
	t.Helper()
	c, err := NewClient("http://server", inMemory{h})
	if err != nil {
		t.Fatal(err)
	}
	c.Device, c.Wait = device, wait
	start := time.Now()
	go func() {
		n, tag, err := c.Poll(t.Context(), etag)
		got <- told{device, n, tag, err, time.Since(start)}
	}()
}

func TestPostingWakesItsDevicesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, got := NewHandler(&backend{}), make(chan told)
		for i := range 4 {
			polls(t, h, fmt.Sprintf("d%d", i), noETag, time.Minute, got)
		}
		synctest.Wait()
		p := h.Post(map[string]Seat{"d1": {Node: 11}, "d3": {Node: 13}, "elsewhere": {Node: 15}})
		if n := p.Waiting(); n != 2 || h.Waiting() != 4 {
			t.Fatalf("%d of its devices wait, of %d; want 2 of 4", n, h.Waiting())
		}
		p.Publish(Notice{Manifest: []byte("m"), Node: 99})
		nodes := map[string]uint32{}
		for range 2 {
			r := <-got
			if r.err != nil || r.n == nil || string(r.n.Manifest) != "m" || r.after != 0 {
				t.Fatalf("%+v", r)
			}
			nodes[r.device] = r.n.Node
		}
		if want := map[string]uint32{"d1": 11, "d3": 13}; !maps.Equal(nodes, want) {
			t.Errorf("told %v, want %v", nodes, want)
		}
		synctest.Wait()
		if h.Waiting() != 2 {
			t.Errorf("%d polls wait, want those of d0 and d2", h.Waiting())
		}
		for range 2 { // their patience ends, with nothing new
			if r := <-got; r.n != nil || r.etag != noETag || r.err != nil || r.after < time.Minute || r.after > 62*time.Second {
				t.Errorf("%+v", r)
			}
		}
	})
}

// Of several campaigns a device is told the newest that is open.
func TestNewestPostingIsTold(t *testing.T) {
	h := NewHandler(&backend{})
	tell := func() string {
		t.Helper()
		now, err := h.board.wait(t.Context(), "d", "", "", 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if now.notice == nil {
			return ""
		}
		return string(now.notice.Manifest)
	}
	seats := map[string]Seat{"d": {}}
	first, second := h.Post(seats), h.Post(seats)
	h.Publish(Notice{Manifest: []byte("everybody")})
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() {}, "everybody"}, // neither has announced anything
		{func() { first.Publish(Notice{Manifest: []byte("first")}) }, "first"},
		{func() { second.Publish(Notice{Manifest: []byte("second")}) }, "second"},
		{func() { first.Publish(Notice{Manifest: []byte("first again")}) }, "second"},
		{second.Withdraw, "first again"},
		{first.Withdraw, "everybody"},
	} {
		if step.do(); tell() != step.want {
			t.Errorf("told %q, want %q", tell(), step.want)
		}
	}
	if len(h.board.postings) != 0 {
		t.Errorf("%d postings are left", len(h.board.postings))
	}
}

// A device that knows what a server announced goes on waiting at the next server, or at the same one after a restart.
func TestETagSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := Notice{Manifest: []byte("m"), Session: []byte("s")}
		announce := func() *Handler {
			h := NewHandler(&backend{})
			h.Post(map[string]Seat{"d": {}}).Publish(n)
			return h
		}
		now, _ := announce().board.wait(t.Context(), "d", "", "", 0, 0)
		etag := now.etag
		h, got := announce(), make(chan told)
		polls(t, h, "d", etag, 10*time.Second, got)
		synctest.Wait()
		if h.Waiting() != 1 {
			t.Error("the device is not held")
		}
		if r := <-got; r.n != nil || r.etag != etag || r.after < 10*time.Second {
			t.Errorf("%+v", r)
		}
	})
}

// A server that ends asks devices to come back, the more there are the more spread out.
func TestCloseSendsAwaySpreadOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const devices = 200
		h, got := NewHandler(&backend{}), make(chan told)
		for i := range devices {
			polls(t, h, fmt.Sprint(i), noETag, time.Minute, got)
		}
		synctest.Wait()
		h.Close()
		after := map[int]int{}
		for range devices {
			r := <-got
			refusal, ok := errors.AsType[*Refusal](r.err)
			if !ok || refusal.retryAfter < 1 {
				t.Fatalf("%+v: want a time to come back", r)
			}
			after[refusal.retryAfter]++
		}
		if len(after) < 5 {
			t.Errorf("devices come back after %v seconds; want them spread", slices.Sorted(maps.Keys(after)))
		}
		if _, err := h.board.wait(t.Context(), "late", "", "", 0, 0); err == nil {
			t.Error("a poll is answered after Close")
		}
	})
}

// Polls that came over one connection are answered one behind the other, whatever order the devices came in.
func TestPollsOfAConnectionHaveTheirTurnTogether(t *testing.T) {
	b := newBoard()
	seats := map[string]Seat{}
	for i := range 300 {
		device := fmt.Sprint("d", i)
		seats[device] = Seat{}
		b.enter(device, fmt.Sprint("proxy ", i%3), time.Minute)
	}
	b.line.awake = maxAwake // all have to wait for their turn
	b.post(seats).Publish(Notice{})
	last := ""
	var changes int
	for _, w := range b.line.waiters {
		if w.from != last {
			last = w.from
			changes++
		}
	}
	if len(b.line.waiters) != 300 || changes != 3 {
		t.Errorf("%d polls of three connections in line, in %d groups", len(b.line.waiters), changes)
	}
}

// One device holds so many polls and no more, and what waits is counted right whatever ends it.
func TestAttackManyPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, got := NewHandler(&backend{}), make(chan told, 3*maxPolls)
		for range 3 * maxPolls {
			polls(t, h, "d", noETag, 30*time.Second, got)
			synctest.Wait()
		}
		if h.Waiting() != maxPolls {
			t.Errorf("%d polls of one device wait, want %d", h.Waiting(), maxPolls)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		h.board.wait(ctx, "gone", "", noETag, time.Minute, 0)
		for range 3 * maxPolls {
			<-got
		}
		synctest.Wait()
		if h.Waiting() != 0 || len(h.board.waiting) != 0 || h.board.wheel.count != 0 {
			t.Errorf("%d waiting, %d devices, %d in the wheel; want none", h.Waiting(), len(h.board.waiting), h.board.wheel.count)
		}
	})
}
