package session_test

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/udp"
)

// A pipe is one end of a network in memory for measuring: it takes no memory per datagram, and a writer waits while
// the other end is late, so nothing is lost.
type pipe struct {
	from       netip.AddrPort
	peer       *pipe
	full, free chan []udp.Message // batches on their way, and batches to be used again
	reading    []udp.Message      // the batch that was read last
	once       *sync.Once
	closed     chan struct{} // of both ends
}

func newPipe() (a, b *pipe) {
	once, closed := new(sync.Once), make(chan struct{})
	end := func(n byte) *pipe {
		p := &pipe{from: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, n}), 6003), once: once, closed: closed,
			full: make(chan []udp.Message, 8), free: make(chan []udp.Message, 8)}
		for range cap(p.free) {
			p.free <- nil
		}
		return p
	}
	a, b = end(1), end(2)
	a.peer, b.peer = b, a
	return a, b
}

func (p *pipe) WriteBatch(msgs []udp.Message) (int, error) {
	var batch []udp.Message
	select {
	case batch = <-p.peer.free:
	case <-p.closed:
		return 0, net.ErrClosed
	}
	for i, m := range msgs {
		if i == cap(batch) {
			batch = append(batch[:i], udp.Message{})
		}
		batch = batch[:i+1]
		batch[i].From, batch[i].To, batch[i].B = p.from, m.To, append(batch[i].B[:0], m.B...)
	}
	p.peer.full <- batch
	return len(msgs), nil
}

func (p *pipe) ReadBatch(msgs []udp.Message) (int, error) {
	if p.reading != nil {
		p.free <- p.reading
	}
	select {
	case p.reading = <-p.full:
		return copy(msgs, p.reading), nil
	case <-p.closed:
		return 0, net.ErrClosed
	}
}

func (p *pipe) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// A void is a source of zeros, and a sink that forgets.
type void struct{}

func (void) ReadAt(b []byte, _ int64) (int, error)  { clear(b); return len(b), nil }
func (void) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }

// A line is a sender and its receivers, to carry one object after the other.
type line struct {
	sender    *session.Session
	receivers []*session.Session
}

func (l *line) open(t testing.TB, at netip.AddrPort, rate float64, sender session.Conn, receivers ...session.Conn) {
	for i, conn := range receivers {
		cfg := receiving(norm.NodeID(10 + i))
		cfg.Group, cfg.MaxObjects = at, 8
		l.receivers = append(l.receivers, openReceiver(t, conn, cfg, void{}))
	}
	cfg := sending(1)
	cfg.Group, cfg.Rate, cfg.GRTT, cfg.MaxObjects, cfg.FlowControl = at, rate, 10*time.Millisecond, 8, -1
	l.sender = open(t, session.Config{Conn: sender, Send: cfg})
}

// carry brings an object of size bytes to all receivers.
func (l *line) carry(t testing.TB, size int64) {
	if _, _, err := l.sender.Send(t.Context(), norm.Object{Size: size}, void{}); err != nil {
		t.Fatal(err)
	}
	for _, r := range l.receivers {
		await(t, r, norm.ObjectComplete)
	}
}

// measure carries objects of size bytes and reports the goodput to each receiver.
func (l *line) measure(b *testing.B, size int64) {
	b.SetBytes(size)
	l.carry(b, size)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for b.Loop() {
		l.carry(b, size)
	}
	runtime.ReadMemStats(&after)
	total := float64(size) * float64(b.N)
	b.ReportMetric(total*8/1e6/b.Elapsed().Seconds(), "Mbit/s")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/(total/1400), "allocs/segment")
}

// BenchmarkMemory is a sender and a receiver with nothing between them that costs time: what the core and the driver
// can do.
func BenchmarkMemory(b *testing.B) {
	for _, size := range []int64{1 << 20, 64 << 20} {
		b.Run(fmt.Sprintf("size=%dMiB", size>>20), func(b *testing.B) {
			var l line
			out, in := newPipe()
			l.open(b, group, 1e12, out, in)
			l.measure(b, size)
		})
	}
}

// BenchmarkLoopback is the same by real multicast on the loopback interface at a given rate.
func BenchmarkLoopback(b *testing.B) {
	for _, bench := range []struct {
		rate      float64
		receivers int
	}{
		{100e6, 1}, {1e9, 1}, {2e9, 1}, {1e9, 4},
	} {
		b.Run(fmt.Sprintf("rate=%gMbit/receivers=%d", bench.rate/1e6, bench.receivers), func(b *testing.B) {
			at := netip.AddrPortFrom(netip.MustParseAddr("239.255.77.63"), freePort(b, "127.0.0.1"))
			needMulticast(b, at, "127.0.0.1")
			var l line
			var conns []session.Conn
			for range bench.receivers {
				conns = append(conns, openUDP(b, udp.Config{Group: at, Interface: "127.0.0.1", ReadBuffer: 8 << 20}))
			}
			l.open(b, at, bench.rate, openUDP(b, udp.Config{Group: at, Interface: "127.0.0.1", Role: udp.Sender}), conns...)
			l.measure(b, 32<<20)
			tx, rx := stats(b, l.sender), stats(b, l.receivers[0])
			b.ReportMetric(float64(tx.Sender.Repairs), "repairs")
			b.ReportMetric(float64(tx.UDP.Sent.Datagrams)/float64(tx.UDP.Sent.Calls), "datagrams/send")
			b.ReportMetric(float64(rx.UDP.Received.Datagrams)/float64(rx.UDP.Received.Calls), "datagrams/recv")
		})
	}
}
