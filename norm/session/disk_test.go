package session_test

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/session"
)

// A countingSink counts the bytes written to it.
type countingSink struct {
	memory
	n atomic.Int64
}

func (s *countingSink) WriteAt(b []byte, off int64) (int, error) {
	s.n.Add(int64(len(b)))
	return s.memory.WriteAt(b, off)
}

func (s *countingSink) written() int64 { return s.n.Load() }

// A slowSink is a disk that stands still until go is closed.
type slowSink struct {
	memory
	begin chan struct{}
}

func (s slowSink) WriteAt(b []byte, off int64) (int, error) {
	<-s.begin
	return s.memory.WriteAt(b, off)
}

// A lazySink takes some time for each write.
type lazySink struct{ memory }

func (s lazySink) WriteAt(b []byte, off int64) (int, error) {
	time.Sleep(20 * time.Millisecond)
	return s.memory.WriteAt(b, off)
}

// What comes faster than it can be written waits in the socket's queue: nothing is lost for want of memory.
func TestLazyDiskLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, image := &hub{}, content(4<<20, 1)
		cfg := receiving(10)
		cfg.Buffer = 1 << 20
		sink := lazySink{make(memory, len(image))}
		r := openReceiver(t, net.open(10), cfg, sink)
		send(t, openSender(t, net.open(1)), image)
		await(t, r, norm.ObjectComplete)
		if st := stats(t, r).Receiver; st.NoBuffer != 0 || st.Lost != 0 {
			t.Errorf("%d segments found no memory, %d were lost", st.NoBuffer, st.Lost)
		}
		if !bytes.Equal(sink.memory, image) {
			t.Error("content differs")
		}
	})
}

// While the disk stands still, the loop goes on: datagrams are handled, calls answered, what fits is kept in memory.
// Afterwards the rest is asked for.
func TestSlowDiskDoesNotStopTheSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, image := &hub{}, content(4<<20, 1)
		cfg := receiving(10)
		cfg.Buffer = 1 << 20
		sink := slowSink{make(memory, len(image)), make(chan struct{})}
		r := openReceiver(t, net.open(10), cfg, sink)
		s := openSender(t, net.open(1))
		send(t, s, image)
		await(t, s, norm.ObjectSent)
		synctest.Wait()
		st := stats(t, r).Receiver
		if st.Datagrams < 2990 || st.Lost != 0 {
			t.Errorf("%d datagrams handled and %d lost while the disk stands still", st.Datagrams, st.Lost)
		}
		if st.NoBuffer == 0 {
			t.Errorf("no segment found memory full: %+v", st)
		}
		close(sink.begin)
		await(t, r, norm.ObjectComplete)
		if !bytes.Equal(sink.memory, image) {
			t.Error("content differs")
		}
	})
}

// Close waits for the write that is under way, and for no other.
func TestCloseWaitsForTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, image := &hub{}, content(8*64*1400, 1)
		sink := &countingSink{memory: make(memory, len(image))}
		slow := &gate{Sink: sink, begin: make(chan struct{})}
		r := open(t, session.Config{Conn: net.open(10), Receive: receiving(10), Workers: 1,
			Offer: func(norm.Handle, norm.ReceivedObject) session.Sink { return slow }})
		s := openSender(t, net.open(1))
		send(t, s, image)
		await(t, s, norm.ObjectSent)
		synctest.Wait()
		closed := make(chan struct{})
		go func() { r.Close(); close(closed) }()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("Close did not wait for a write")
		default:
		}
		close(slow.begin)
		<-closed
		if n := sink.written(); n != 64*1400 {
			t.Errorf("%d bytes written, want those of the one block that was under way", n)
		}
	})
}

// A gate is a sink whose writes wait.
type gate struct {
	session.Sink
	begin chan struct{}
}

func (g *gate) WriteAt(b []byte, off int64) (int, error) {
	<-g.begin
	return g.Sink.WriteAt(b, off)
}

type failingSink struct{ memory }

func (failingSink) WriteAt([]byte, int64) (int, error) { return 0, errors.New("no space left") }

func TestFailingSinkAbortsTheObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &hub{}
		r := openReceiver(t, net.open(10), receiving(10), failingSink{})
		s := openSender(t, net.open(1))
		send(t, s, content(100_000, 1))
		if e := nextOf(t, r, norm.ObjectAborted); e.Err == nil || e.Err.Error() != "no space left" {
			t.Errorf("aborted with %v; want the sink's error", e.Err)
		}
		if _, sinks := r.Held(t.Context()); sinks != 0 {
			t.Errorf("%d sinks are held for no object", sinks)
		}
	})
}

// A file that is shorter than was said, or fails, purges its object; the next one is not held up.
func TestFailingSourcePurgesTheObject(t *testing.T) {
	for name, test := range map[string]struct {
		source session.Source
		want   error
	}{
		"short":   {bytes.NewReader(make([]byte, 99_999)), io.ErrUnexpectedEOF},
		"failing": {failingSource{}, errBroken},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net, image := &hub{}, content(100_000, 1)
				sink := make(memory, len(image))
				r := openReceiver(t, net.open(10), receiving(10), sink)
				s := openSender(t, net.open(1))
				h, _, err := s.Send(t.Context(), norm.Object{Size: 100_000}, test.source)
				if err != nil {
					t.Fatal(err)
				}
				send(t, s, image)
				if e := await(t, s, norm.ObjectPurged); e.Object != h || !errors.Is(e.Err, test.want) {
					t.Errorf("purged: %+v, want %v", e, test.want)
				}
				nextOf(t, r, norm.ObjectComplete)
				if !bytes.Equal(sink, image) {
					t.Error("content of the second object differs")
				}
			})
		})
	}
}

var errBroken = errors.New("broken")

type failingSource struct{}

func (failingSource) ReadAt([]byte, int64) (int, error) { return 0, errBroken }

// A source may return io.EOF together with the last byte.
func TestSourceMayEndWithEOF(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, image := &hub{}, content(100_000, 1)
		sink := make(memory, len(image))
		r := openReceiver(t, net.open(10), receiving(10), sink)
		s := openSender(t, net.open(1))
		if _, _, err := s.Send(t.Context(), norm.Object{Size: 100_000}, eager{image}); err != nil {
			t.Fatal(err)
		}
		await(t, r, norm.ObjectComplete)
		if !bytes.Equal(sink, image) {
			t.Error("content differs")
		}
		time.Sleep(time.Second)
	})
}

type eager struct{ b []byte }

func (e eager) ReadAt(b []byte, off int64) (int, error) {
	n := copy(b, e.b[off:])
	if int(off)+n == len(e.b) {
		return n, io.EOF
	}
	return n, nil
}
