package udp

import (
	"net/netip"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	writeHeaders = 64             // headers of one sendmmsg
	maxSegments  = 64             // UDP_MAX_SEGMENTS before Linux 6.9: datagrams of one UDP_SEGMENT send
	maxRun       = 65535 - 40 - 8 // bytes of them: an IP packet less its headers
	maxIovecs    = 512            // payloads of one sendmmsg
)

// A writer sends datagrams with sendmmsg, runs of them that have one size and
// one destination as one.
type writer struct {
	s    *socket
	gso  atomic.Bool // written by the writer only
	call mmsgCall

	hdrs  [writeHeaders]mmsghdr
	names [writeHeaders]name
	sizes [writeHeaders]segmentSize
	runs  [writeHeaders]int // datagrams under each header
	iovs  [maxIovecs]unix.Iovec
	zones zones

	headers, sent int // hdrs to send, and how many the kernel has taken

	transmit func(fd uintptr) bool // w.send, bound once so that writing does not allocate
	errno    unix.Errno            // its result
}

// segmentSize is the UDP_SEGMENT control message, with CMSG_SPACE's padding.
type segmentSize struct {
	unix.Cmsghdr
	size uint16
	_    [6]byte
}

func (w *writer) init(s *socket, offload bool) {
	w.s, w.call, w.transmit = s, sendmmsg, w.send
	// Setting 0 changes nothing but fails where the kernel lacks UDP_SEGMENT.
	w.gso.Store(offload && setInt(s.raw, unix.SOL_UDP, unix.UDP_SEGMENT, 0) == nil)
	for i := range w.hdrs {
		w.hdrs[i].Name = (*byte)(unsafe.Pointer(&w.names[i]))
		w.sizes[i].Level, w.sizes[i].Type = unix.SOL_UDP, unix.UDP_SEGMENT
		w.sizes[i].SetLen(unix.CmsgLen(2))
	}
}

func (w *writer) write(msgs []Message) (n int, err error) {
	for n < len(msgs) && err == nil {
		w.build(msgs[n:])
		err = w.s.ioError("sendmmsg", w.s.raw.Write(w.transmit), w.errno)
		bytes, datagrams := 0, 0
		for _, run := range w.runs[:w.sent] {
			datagrams += run
		}
		for _, m := range msgs[n : n+datagrams] {
			bytes += len(m.B)
		}
		w.s.stats.sent.add(datagrams, bytes)
		n += datagrams
		if err != nil && w.refused() {
			w.gso.Store(false)
			err = nil
		}
	}
	return n, err
}

// refused reports whether the header that failed was a run, with an error that
// tells of the device or the path rather than of the moment: EIO where the
// device has no checksum offload, EINVAL where a segment exceeds the path's
// MTU. Runs are then given up for good.
func (w *writer) refused() bool {
	if w.sent >= w.headers || w.runs[w.sent] < 2 {
		return false
	}
	switch w.errno {
	case unix.EIO, unix.EINVAL, unix.EMSGSIZE, unix.EOPNOTSUPP:
		return true
	}
	return false
}

// build puts as many of msgs under headers as there is room for.
func (w *writer) build(msgs []Message) {
	w.headers, w.sent, w.errno = 0, 0, 0
	for iov := 0; len(msgs) > 0 && w.headers < writeHeaders && iov < maxIovecs; w.headers++ {
		run := 1
		if w.gso.Load() {
			run = runLength(msgs[:min(len(msgs), maxSegments, maxIovecs-iov)])
		}
		w.header(w.headers, msgs[:run], w.iovs[iov:iov+run])
		iov += run
		msgs = msgs[run:]
	}
}

// runLength returns how many of msgs, from the first on, can be sent as one:
// they have one destination and one size, save that the last may be shorter.
func runLength(msgs []Message) int {
	size, total, n := len(msgs[0].B), 0, 0
	if size == 0 {
		return 1
	}
	for _, m := range msgs {
		if len(m.B) == 0 || len(m.B) > size || m.To != msgs[0].To || total+len(m.B) > maxRun {
			break
		}
		total += len(m.B)
		if n++; len(m.B) < size {
			break
		}
	}
	return max(n, 1)
}

// header makes header i carry the datagrams of run.
func (w *writer) header(i int, run []Message, iovs []unix.Iovec) {
	for j, m := range run {
		iovs[j].Base = unsafe.SliceData(m.B)
		iovs[j].SetLen(len(m.B))
	}
	to := run[0].To
	if to == (netip.AddrPort{}) {
		to = w.s.group
	}
	h := &w.hdrs[i]
	h.Namelen = setName(&w.names[i], to, &w.zones)
	h.Iov = &iovs[0]
	h.SetIovlen(len(iovs))
	h.Control = nil
	h.SetControllen(0)
	if w.runs[i] = len(run); len(run) > 1 {
		w.sizes[i].size = uint16(len(run[0].B))
		h.Control = (*byte)(unsafe.Pointer(&w.sizes[i]))
		h.SetControllen(unix.CmsgSpace(2))
	}
}

// send gives the kernel what it has not taken yet, and waits while its queue
// is full.
func (w *writer) send(fd uintptr) bool {
	for w.sent < w.headers {
		n, errno := w.call(fd, w.hdrs[w.sent:w.headers])
		switch errno {
		case 0:
			w.s.stats.sent.calls.Add(1)
			w.sent += n
		case unix.EINTR:
		case unix.EAGAIN:
			if w.s.file == nil {
				return false // the poller waits
			}
			w.errno = errno
			return true
		default:
			w.errno = errno
			return true
		}
	}
	return true
}
