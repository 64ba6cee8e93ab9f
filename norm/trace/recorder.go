package trace

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/norm/udp"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// Bounds of a Recorder that Limits does not set.
const (
	DefaultPending = 2 << 20
	DefaultSize    = 1 << 30
)

// Limits bound what a Recorder takes.
type Limits struct {
	// Pending is how many bytes may wait for the disk; the Recorder keeps twice as much memory at most. If zero,
	// DefaultPending.
	Pending int
	// Size is how long the file may get, in bytes. If zero, DefaultSize.
	Size int64
}

// A Recorder writes the datagrams and events of one or more sessions into a pcapng file: it is a session.Tracer. What the
// disk is too slow for, or the file too small, is counted and left out; the sessions never wait. Its methods may be called
// from any goroutine.
type Recorder struct {
	out    io.WriteCloser
	limits Limits
	more   chan struct{} // holds a token while something is pending
	done   sync.WaitGroup

	mu      sync.Mutex
	w       *Writer      // writes to pending; guarded by mu
	pending bytes.Buffer // guarded by mu
	frame   []byte       // guarded by mu
	size    int64        // bytes given to out or pending; guarded by mu
	dropped uint64       // guarded by mu
	err     error        // of out; guarded by mu
	closed  bool         // guarded by mu
}

// NewRecorder begins a file; out is closed by Close.
func NewRecorder(out io.WriteCloser, l Limits) *Recorder {
	if l.Pending == 0 {
		l.Pending = DefaultPending
	}
	if l.Size == 0 {
		l.Size = DefaultSize
	}
	r := &Recorder{out: out, limits: l, more: make(chan struct{}, 1)}
	r.w, _ = NewWriter(&r.pending, "norm/trace") // a buffer takes everything
	r.w.Interface(LinkRaw, "norm", "datagrams as the session sent and received them; IP and UDP headers are made from the socket's addresses")
	r.wake()
	r.done.Go(r.run)
	return r
}

// Sent records datagrams that left from an address, which may be unspecified.
func (r *Recorder) Sent(now time.Time, from netip.AddrPort, msgs []udp.Message) {
	for i := range msgs {
		r.datagram(now, Outbound, Datagram{From: from, To: msgs[i].To, B: msgs[i].B})
	}
}

// Received records datagrams that arrived.
func (r *Recorder) Received(now time.Time, msgs []udp.Message) {
	for i := range msgs {
		m := &msgs[i]
		r.datagram(now, Inbound, Datagram{From: m.From, To: m.To, ECN: m.ECN, B: m.B})
	}
}

// Event records what a session told its application.
func (r *Recorder) Event(now time.Time, name string, attrs ...slog.Attr) {
	text := []byte(name)
	for _, a := range attrs {
		if err, ok := a.Value.Any().(error); ok {
			a.Value = slog.StringValue(err.Error())
		}
		text = wire.AppendTextAttr(append(text, ' '), a)
	}
	r.record(len(text)+100, func() { r.w.Event(now, string(text)) })
}

func (r *Recorder) datagram(now time.Time, way Direction, d Datagram) {
	r.record(len(d.B)+100, func() {
		r.frame = AppendFrame(r.frame[:0], d)
		r.w.Packet(0, Packet{Time: now, Direction: way, Data: r.frame})
	})
}

// record has f write about size bytes, or counts what there is no room for.
func (r *Recorder) record(size int, f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return
	case r.err != nil, r.pending.Len()+size > r.limits.Pending, r.size+int64(size) > r.limits.Size:
		r.dropped++
		return
	}
	before := r.pending.Len()
	f()
	r.size += int64(r.pending.Len() - before)
	r.wake()
}

func (r *Recorder) wake() {
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// run writes what is pending, while more becomes pending in another buffer.
func (r *Recorder) run() {
	var writing bytes.Buffer
	for range r.more {
		r.mu.Lock()
		writing, r.pending = r.pending, writing
		r.mu.Unlock()
		_, err := r.out.Write(writing.Bytes())
		writing.Reset()
		if err != nil {
			r.mu.Lock()
			r.err = err
			r.mu.Unlock()
		}
	}
}

// Dropped returns how many datagrams and events are missing in the file.
func (r *Recorder) Dropped() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dropped
}

// Close writes what is pending and closes the file. What comes later is ignored. The error is that of the file, or says
// how much is missing.
func (r *Recorder) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	if r.dropped > 0 {
		r.w.Dropped(0, time.Now(), r.dropped)
		r.w.Event(time.Now(), fmt.Sprintf("%d datagrams or events before this are missing", r.dropped))
	}
	r.mu.Unlock()
	r.wake()
	close(r.more)
	r.done.Wait()
	err := r.out.Close()
	switch {
	case r.err != nil:
		return r.err
	case err != nil:
		return err
	case r.dropped > 0:
		return fmt.Errorf("%d datagrams or events are missing: the disk was too slow, or the file reached its limit of %d bytes", r.dropped, r.limits.Size)
	}
	return nil
}
