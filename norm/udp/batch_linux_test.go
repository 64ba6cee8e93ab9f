package udp

import (
	"bytes"
	"math"
	"net/netip"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// run makes count payloads of a size.
func run(count, size int) [][]byte {
	var b [][]byte
	for i := range count {
		b = append(b, bytes.Repeat([]byte{byte(i)}, size))
	}
	return b
}

// TestRefusedRunsAreGivenUp has the kernel refuse runs of datagrams, as it
// does for a device without checksum offload.
func TestRefusedRunsAreGivenUp(t *testing.T) {
	eachFamily(t, func(t *testing.T, n testNet) {
		for _, errno := range []unix.Errno{unix.EIO, unix.EINVAL} {
			sender := n.open(t, Config{Group: n.at(1), Role: Sender})
			receiver := n.open(t, Config{Group: n.at(1)})
			w := &sender.out.writer
			w.gso.Store(true)
			refused := 0
			w.call = func(fd uintptr, hdrs []mmsghdr) (int, unix.Errno) {
				for i := range hdrs {
					if hdrs[i].Controllen == 0 {
						continue
					}
					if i > 0 {
						return sendmmsg(fd, hdrs[:i]) // what stands before it is sent
					}
					refused++
					return 0, errno
				}
				return sendmmsg(fd, hdrs)
			}
			want := append(run(1, 9), run(70, 500)...)
			send(t, sender, netip.AddrPort{}, want...)
			send(t, sender, netip.AddrPort{}, run(10, 500)...)
			got := receive(t, receiver, len(want)+10)
			for i, b := range want {
				if !bytes.Equal(got[i].B, b) {
					t.Fatalf("datagram %d differs", i)
				}
			}
			if s := sender.Stats(); refused != 1 || s.GSO || s.Sent.Datagrams != 81 || s.Failed != 0 {
				t.Errorf("%v: runs tried %d times, want once and never again; %+v", errno, refused, s)
			}
			sender.Close()
			receiver.Close()
		}
	})
}

// TestOwnDataAreNoOverflow: the kernel counts what a filter drops as it counts what a queue has no room for.
func TestOwnDataAreNoOverflow(t *testing.T) {
	eachFamily(t, func(t *testing.T, n testNet) {
		sender := n.open(t, Config{Group: n.at(1), Role: Sender})
		receiver := n.open(t, Config{Group: n.at(1)})
		send(t, sender, netip.AddrPort{}, run(10, 500)...)
		send(t, receiver, netip.AddrPort{}, []byte("feedback"))
		if got := receive(t, sender, 1)[0]; string(got.B) != "feedback" {
			t.Errorf("got %q", got.B)
		}
		if s := sender.Stats(); s.Dropped.Overflow != 0 {
			t.Errorf("%d datagrams overflowed", s.Dropped.Overflow)
		}
	})
}

func TestRunLength(t *testing.T) {
	other := netip.MustParseAddrPort("192.0.2.1:6003")
	of := func(sizes ...int) (msgs []Message) {
		for _, s := range sizes {
			msgs = append(msgs, Message{B: make([]byte, s)})
		}
		return msgs
	}
	elsewhere := of(5, 5, 5)
	elsewhere[1].To = other
	for _, test := range []struct {
		name string
		msgs []Message
		want int
	}{
		{"equal", of(5, 5, 5), 3},
		{"shorter ends it", of(5, 5, 4, 4), 3},
		{"longer is not in it", of(5, 6), 1},
		{"empty is not in it", of(5, 0, 5), 1},
		{"empty is alone", of(0, 0), 1},
		{"other destination", elsewhere, 1},
		{"as an IP packet can hold", of(30000, 30000, 30000), 2},
		{"too long anyway", of(70000, 70000), 1},
	} {
		if got := runLength(test.msgs); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}

// TestOverflowIsCounted fills the kernel's queue: every datagram is either
// received or counted as dropped.
func TestOverflowIsCounted(t *testing.T) {
	eachFamily(t, func(t *testing.T, n testNet) {
		sender := n.open(t, Config{Group: n.at(1), Role: Sender, NoOffload: true})
		receiver := n.open(t, Config{Group: n.at(1), ReadBuffer: 1, NoOffload: true})
		send(t, sender, netip.AddrPort{}, run(100, 1400)...)
		msgs := make([]Message, 100)
		queued, err := receiver.ReadBatch(msgs)
		if err != nil {
			t.Fatal(err)
		}
		// The counter comes with the next datagram that finds room.
		send(t, sender, netip.AddrPort{}, []byte("last"))
		if got := receive(t, receiver, 1)[0]; string(got.B) != "last" {
			t.Fatalf("got %d bytes, want the last datagram", len(got.B))
		}
		if s := receiver.Stats(); queued+int(s.Dropped.Overflow) != 100 || s.Dropped.Overflow == 0 {
			t.Errorf("%d received and %d dropped of 100", queued, s.Dropped.Overflow)
		}
	})
}

// TestTruncated has the kernel report a datagram longer than its slot.
func TestTruncated(t *testing.T) {
	eachFamily(t, func(t *testing.T, n testNet) {
		sender := n.open(t, Config{Group: n.at(1), Role: Sender, NoOffload: true})
		receiver := n.open(t, Config{Group: n.at(1), NoOffload: true})
		r := &receiver.out.reader
		for i := range r.iovs {
			r.iovs[i].SetLen(100)
		}
		send(t, sender, netip.AddrPort{}, make([]byte, 101), []byte("short"))
		if got := receive(t, receiver, 1)[0]; string(got.B) != "short" {
			t.Errorf("got %d bytes, want the short datagram", len(got.B))
		}
		if s := receiver.Stats(); s.Dropped != (Dropped{Truncated: 1}) {
			t.Errorf("%+v, want 1 truncated", s.Dropped)
		}
	})
}

// TestControlIsBounded parses control messages cut at every length.
func TestControlIsBounded(t *testing.T) {
	b := make([]byte, 2*unix.CmsgSpace(20))
	second := len(b) / 2
	for i, kind := range []int32{unix.IPV6_PKTINFO, unix.IPV6_TCLASS} {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[i*second]))
		h.Level, h.Type = unix.IPPROTO_IPV6, kind
		h.SetLen(unix.CmsgLen(20))
	}
	b[unix.CmsgLen(0)] = 0xff
	for i := range 4 {
		b[second+unix.CmsgLen(0)+i] = 0x02 // whatever the byte order
	}
	var c control
	for n := range len(b) + 1 {
		c.parse(b[:n])
		if got, want := c.to.IsValid(), n >= unix.CmsgLen(20); got != want {
			t.Errorf("%d bytes: destination told: %v", n, got)
		}
		if got, want := c.ecn == 2, n >= second+unix.CmsgLen(20); got != want {
			t.Errorf("%d bytes: ECN %d", n, c.ecn)
		}
	}
}

// TestOwnDataIsNotReadBack checks that a sender's group socket does not take
// what the sender sends, but takes what others do.
func TestOwnDataIsNotReadBack(t *testing.T) {
	eachFamily(t, func(t *testing.T, n testNet) {
		sender := n.open(t, Config{Group: n.at(1), Role: Sender})
		receiver := n.open(t, Config{Group: n.at(1)})
		send(t, sender, netip.AddrPort{}, run(100, 1400)...)
		receive(t, receiver, 100)
		send(t, receiver, netip.AddrPort{}, []byte("nack"))
		if got := receive(t, sender, 1)[0]; string(got.B) != "nack" {
			t.Errorf("got %d bytes from %v", len(got.B), got.From)
		}
		if s := sender.Stats(); s.Received.Datagrams != 1 {
			t.Errorf("%+v, want the feedback alone", s.Received)
		}
	})
}

func TestBuffersAreReported(t *testing.T) {
	eachFamily(t, func(t *testing.T, n testNet) {
		const small, huge = 64 << 10, math.MaxInt32 // the kernel grants half of the latter at most
		s := n.open(t, Config{Group: n.at(1), ReadBuffer: small, WriteBuffer: small}).Stats()
		if want := (Buffer{small, small}); s.ReadBuffer != want || s.WriteBuffer != want {
			t.Errorf("%+v and %+v, want %+v", s.ReadBuffer, s.WriteBuffer, want)
		}
		s = n.open(t, Config{Group: n.at(1), ReadBuffer: huge}).Stats()
		if s.ReadBuffer.Asked != huge || s.ReadBuffer.Granted >= huge || s.ReadBuffer.Granted == 0 {
			t.Errorf("asked for 2 GiB: %+v", s.ReadBuffer)
		}
	})
}

// TestMergeSpreadsABatch reads a batch that is longer than the caller's slice.
func TestMergeSpreadsABatch(t *testing.T) {
	eachFamily(t, func(t *testing.T, n testNet) {
		sender := n.open(t, Config{Group: n.at(1), Role: Sender})
		receiver := n.open(t, Config{Group: n.at(1)})
		want := "abcdefghij"
		for _, to := range []netip.AddrPort{n.at(1), netip.AddrPortFrom(n.host, sender.LocalAddr().Port())} {
			send(t, receiver, to, bytes.Split([]byte(want), nil)...)
			var got strings.Builder
			for one := make([]Message, 1); got.Len() < len(want); {
				if k, err := sender.ReadBatch(one); k != 1 || err != nil {
					t.Fatalf("ReadBatch = %d, %v", k, err)
				}
				got.Write(one[0].B)
			}
			if got.String() != want {
				t.Errorf("got %q, want %q", got.String(), want)
			}
		}
	})
}
