package scale

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/normtest"
)

// A call is one call of a method of a sender, and what it was told.
type call struct {
	verb     verb
	at       time.Time
	datagram norm.Datagram // of handle
	object   norm.Object   // of enqueue
}

type verb uint8

const (
	handle verb = iota
	advance
	poll
	enqueue
)

// A recording is all that a sender was told in a run, but for its reads, which are done at once.
type recording []call

// A recorder is a sender that takes note of how it is called.
type recorder struct {
	*norm.Sender
	on        bool
	recording recording
}

func (r *recorder) note(c call) {
	if r.on {
		r.recording = append(r.recording, c)
	}
}

// Handle, Advance and Poll are those of [norm.Sender].
func (r *recorder) Handle(now time.Time, d norm.Datagram) {
	if r.on {
		kept := d
		kept.B = slices.Clone(d.B)
		r.note(call{verb: handle, at: now, datagram: kept})
	}
	r.Sender.Handle(now, d)
}

func (r *recorder) Advance(now time.Time) {
	r.note(call{verb: advance, at: now})
	r.Sender.Advance(now)
}

func (r *recorder) Poll(now time.Time, b []byte) ([]byte, netip.AddrPort, bool) {
	r.note(call{verb: poll, at: now})
	return r.Sender.Poll(now, b)
}

func (r *recorder) enqueue(now time.Time, o norm.Object) (norm.Handle, norm.TransportID, error) {
	r.note(call{verb: enqueue, at: now, object: o})
	return r.Sender.Enqueue(now, o)
}

// Work is what a run cost its sender, nothing of the receivers or the network included.
type Work struct {
	Calls    int           // of its methods
	Handled  int           // datagrams among them
	Sent     int           // datagrams it made
	Seconds  float64       // of virtual time
	Mallocs  uint64        // allocations, those of making it included
	Heap     uint64        // bytes it holds in the end
	Duration time.Duration // on a clock
}

// Replay tells a new sender what that of a recorded run was told, and measures it alone in the process. The error tells that
// it did not send the same, which would be a fault of the sender: nothing but its input may decide what it does.
func (r *Result) Replay() (w Work, err error) {
	if len(r.recording) == 0 {
		return w, fmt.Errorf("scale: the run was not recorded")
	}
	cfg := r.Config
	file := normtest.Source(cfg.Seed+1, cfg.Size)
	buf := make([]byte, 0, 1<<16)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	begun := time.Now()
	s, err := norm.NewSender(cfg.Sender, normtest.Epoch)
	if err != nil {
		return w, err
	}
	for i := range r.recording {
		c := &r.recording[i]
		w.Calls++
		switch c.verb {
		case handle:
			w.Handled++
			s.Handle(c.at, c.datagram)
		case advance:
			s.Advance(c.at)
		case enqueue:
			if _, _, err := s.Enqueue(c.at, c.object); err != nil {
				return w, err
			}
		case poll:
			if _, _, ok := s.Poll(c.at, buf); ok {
				w.Sent++
			}
		}
		for io := range s.Requests() {
			_, io.Err = file.ReadAt(io.B, io.Offset)
			s.Complete(c.at, io)
		}
		for range s.Events() {
		}
	}
	w.Duration = time.Since(begun)
	runtime.ReadMemStats(&after)
	w.Mallocs = after.Mallocs - before.Mallocs
	runtime.GC()
	runtime.ReadMemStats(&after)
	w.Heap = after.HeapAlloc - before.HeapAlloc
	w.Seconds = r.recording[len(r.recording)-1].at.Sub(normtest.Epoch).Seconds()
	if s.Stats() != r.Sender {
		err = fmt.Errorf("scale: the replayed sender did otherwise: %+v, want %+v", s.Stats(), r.Sender)
	}
	runtime.KeepAlive(s)
	return w, err
}
