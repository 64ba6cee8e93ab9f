package udp

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	readSlots = 32      // datagrams, or runs of them, that one recvmmsg fetches
	slotSize  = 1 << 16 // holds any of them; memory is touched as far as it is filled
)

// A reader fetches datagrams with recvmmsg and hands them out from its slots.
type reader struct {
	s    *socket
	gro  bool
	call mmsgCall

	hdrs  [readSlots]mmsghdr
	iovs  [readSlots]unix.Iovec
	names [readSlots]name
	oobs  [readSlots][controlSize]byte
	slots [][slotSize]byte
	zones zones

	// The slots in [next, filled) have not been handed out yet, and of slot
	// next what lies below offset has been.
	next, filled, offset int
	current              control // of slot next
	from                 netip.AddrPort

	overflow uint32 // SO_RXQ_OVFL as last seen
	filtered bool   // it counts what a filter drops, too

	receive func(fd uintptr) bool // r.recv, bound once so that reading does not allocate
	errno   unix.Errno            // its result
}

// tryRead is read, but does not wait: it returns 0 if there is nothing to fetch.
func (r *reader) tryRead(msgs []Message) (int, error) {
	r.call = tryRecvmmsg
	n, err := r.read(msgs)
	r.call = recvmmsg
	if r.errno == unix.EAGAIN {
		r.errno, err = 0, nil
	}
	return n, err
}

func (r *reader) init(s *socket, offload bool) {
	r.s, r.call, r.receive = s, recvmmsg, r.recv
	r.gro = offload && setInt(s.raw, unix.SOL_UDP, unix.UDP_GRO, 1) == nil
	r.slots = make([][slotSize]byte, readSlots)
	for i := range r.hdrs {
		r.iovs[i].Base = &r.slots[i][0]
		r.iovs[i].SetLen(slotSize)
		r.hdrs[i].Name = (*byte)(unsafe.Pointer(&r.names[i]))
		r.hdrs[i].Iov = &r.iovs[i]
		r.hdrs[i].SetIovlen(1)
		r.hdrs[i].Control = &r.oobs[i][0]
	}
}

// read hands out datagrams from the slots, which it fills when they are empty.
func (r *reader) read(msgs []Message) (int, error) {
	for {
		if n := r.handOut(msgs); n > 0 {
			return n, nil
		}
		err := r.s.raw.Read(r.receive)
		if err := r.s.ioError("recvmmsg", err, r.errno); err != nil {
			return 0, err
		}
	}
}

// recv waits for datagrams and fills the slots. It returns false if another is
// to wait.
func (r *reader) recv(fd uintptr) bool {
	for i := range r.hdrs {
		r.hdrs[i].Namelen = unix.SizeofSockaddrInet6
		r.hdrs[i].SetControllen(controlSize)
		r.hdrs[i].Flags = 0
	}
	n, errno := r.call(fd, r.hdrs[:])
	for errno == unix.EINTR {
		n, errno = r.call(fd, r.hdrs[:])
	}
	if errno == unix.EAGAIN && r.s.file == nil {
		return false // the poller waits
	}
	if r.filled = n; errno == 0 {
		r.s.stats.received.calls.Add(1)
	}
	r.next, r.offset, r.errno = 0, 0, errno
	return true
}

// handOut fills msgs from the slots, and counts.
func (r *reader) handOut(msgs []Message) int {
	n, bytes := 0, 0
	for n < len(msgs) && r.next < r.filled {
		h := &r.hdrs[r.next]
		if r.offset == 0 && !r.open(h) {
			r.next++
			continue
		}
		b := r.slots[r.next][r.offset:h.n]
		if size := r.current.segment; size > 0 && size < len(b) {
			b = b[:size:size]
		}
		msgs[n] = Message{
			From: r.from,
			To:   netip.AddrPortFrom(r.current.to, r.s.local.Port()),
			ECN:  r.current.ecn,
			B:    b,
		}
		n++
		bytes += len(b)
		if r.offset += len(b); r.offset >= int(h.n) {
			r.next, r.offset = r.next+1, 0
		}
	}
	if n > 0 {
		r.s.stats.received.add(n, bytes)
	}
	return n
}

// open looks at what came with the slot of h, and reports whether its
// datagrams are to be delivered.
func (r *reader) open(h *mmsghdr) bool {
	c := &r.current
	c.parse(r.oobs[r.next][:h.Controllen])
	if c.overflow != 0 && !r.filtered {
		r.s.stats.overflow.Add(uint64(c.overflow - r.overflow)) // circular
		r.overflow = c.overflow
	}
	if h.Flags&unix.MSG_TRUNC != 0 {
		r.s.stats.truncated.Add(1)
		return false
	}
	r.from = addrPort(&r.names[r.next], &r.zones)
	if v := r.s.judge(r.from.Addr(), c); v != deliver {
		datagrams := 1
		if c.segment > 0 {
			datagrams = (int(h.n) + c.segment - 1) / c.segment
		}
		r.s.drop(v, datagrams)
		return false
	}
	return true
}
