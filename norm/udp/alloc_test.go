package udp

import (
	"testing"
)

const benchBatch = 32

// A stream is a sender and a receiver on IPv4 loopback that move benchBatch
// datagrams at a time.
type stream struct {
	from, to *Conn
	out, in  []Message
}

// newStream makes a stream of datagrams of a size from one role to the other.
func newStream(tb testing.TB, from Role, size int, offload bool) *stream {
	n := testNet{host: families[0].host, group: families[0].group, port: freePort(tb, families[0].host)}
	s := &stream{
		from: n.open(tb, Config{Group: n.at(1), Role: from, NoOffload: !offload}),
		to:   n.open(tb, Config{Group: n.at(1), Role: Sender - from, NoOffload: !offload}),
		out:  make([]Message, benchBatch),
		in:   make([]Message, benchBatch),
	}
	for i := range s.out {
		s.out[i].B = make([]byte, size)
	}
	return s
}

// move sends a batch and receives all of it.
func (s *stream) move(tb testing.TB) {
	if _, err := s.from.WriteBatch(s.out); err != nil {
		tb.Fatal(err)
	}
	for got := 0; got < len(s.out); {
		n, err := s.to.ReadBatch(s.in)
		if err != nil {
			tb.Fatal(err)
		}
		got += n
	}
}

func TestBatchesDoNotAllocate(t *testing.T) {
	for _, test := range []struct {
		name    string
		from    Role
		offload bool
	}{
		{"data in runs", Sender, true},
		{"data one by one", Sender, false},
		{"feedback", Receiver, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStream(t, test.from, 1400, test.offload)
			if allocs := testing.AllocsPerRun(100, func() { s.move(t) }); allocs != 0 {
				t.Errorf("%v allocations for %d datagrams", allocs, benchBatch)
			}
		})
	}
}

// BenchmarkBatch moves 1,400-byte datagrams over loopback: the time is for a
// batch of 32 sent and received.
func BenchmarkBatch(b *testing.B) {
	for name, offload := range map[string]bool{"runs": true, "single": false} {
		b.Run(name, func(b *testing.B) {
			s := newStream(b, Sender, 1400, offload)
			b.SetBytes(benchBatch * 1400)
			b.ReportAllocs()
			for b.Loop() {
				s.move(b)
			}
		})
	}
}
