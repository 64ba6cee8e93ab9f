package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/multicast-upgrade/tool/internal/netns"
)

// What the kernel can carry is measured by the least that a program can do: a sender that sends the same datagrams as fast
// as it can, without looking what becomes of them, and receivers that count.
//
//	bench blast send sendto|sendmmsg|gso
//	bench blast count sendto|sendmmsg|gso
//	bench blast pace
const (
	blastSegment = 1400
	blastTime    = time.Second
	blastBatch   = 64 // datagrams, or runs of them, in one call
	blastBuffer  = 8 << 20
	blastEnd     = "end" // a datagram that tells so
)

// A blastCount is what a receiver of a blast prints.
type blastCount struct {
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"` // from the first datagram to the last
}

// blast is what one process of a blast does.
func blast(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "send":
		return blastSend(args[1])
	case len(args) == 2 && args[0] == "count":
		return blastReceive(args[1])
	case len(args) == 1 && args[0] == "pace":
		return paceReceive()
	}
	return fmt.Errorf("blast %v: this is for bench itself", args)
}

// blastSocket opens a blocking socket on the network's interface.
func blastSocket() (fd int, ifi *net.Interface, to *unix.SockaddrInet4, err error) {
	if ifi, err = net.InterfaceByName(netns.Interface); err != nil {
		return 0, nil, nil, err
	}
	p, err := strconv.Atoi(port)
	if err != nil {
		return 0, nil, nil, err
	}
	to = &unix.SockaddrInet4{Port: p, Addr: netip.MustParseAddr(group).As4()}
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	return fd, ifi, to, err
}

func blastSend(how string) error {
	fd, ifi, to, err := blastSocket()
	if err != nil {
		return err
	}
	if err := unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(ifi.Index)}); err != nil {
		return err
	}
	if err := unix.Connect(fd, to); err != nil {
		return err
	}
	run := make([]byte, 45*blastSegment) // as many as an IP packet holds
	segment := run[:blastSegment]
	send := func() error { _, err := unix.Write(fd, segment); return err }
	switch how {
	case "sendmmsg":
		m := newMmsg(blastBatch, func(int) []byte { return segment })
		send = func() error { _, err := m.call(unix.SYS_SENDMMSG, fd, 0); return err }
	case "gso":
		if err := unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, blastSegment); err != nil {
			return err
		}
		send = func() error { _, err := unix.Write(fd, run); return err }
	}
	for start := time.Now(); time.Since(start) < blastTime; {
		for range 16 { // the clock is not asked each time
			if err := send(); err != nil && err != unix.ENOBUFS {
				return err
			}
		}
	}
	for range 20 { // a receiver that is late has room again after a while
		time.Sleep(10 * time.Millisecond)
		if _, err := unix.Write(fd, []byte(blastEnd)); err != nil {
			return err
		}
	}
	return nil
}

// blastMember opens a socket that receives the group, and says so.
func blastMember() (fd int, err error) {
	fd, ifi, at, err := blastSocket()
	if err != nil {
		return 0, err
	}
	mreq := &unix.IPMreqn{Multiaddr: at.Addr, Ifindex: int32(ifi.Index)}
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, blastBuffer)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: at.Port})
	}
	if err == nil {
		err = unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, mreq)
	}
	return fd, err
}

func blastReceive(how string) error {
	fd, err := blastMember()
	if err != nil {
		return err
	}
	batch, size := blastBatch, 2048
	switch how {
	case "sendto":
		batch = 1
	case "gso":
		batch, size = 16, 1<<16
		if err := unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1); err != nil {
			return err
		}
	}
	m := newMmsg(batch, func(int) []byte { return make([]byte, size) })
	receive := func() (int, error) { return m.call(unix.SYS_RECVMMSG, fd, unix.MSG_WAITFORONE) }
	if batch == 1 {
		receive = func() (int, error) {
			n, err := unix.Read(fd, m.payload(0))
			m.hdrs[0].n = uint32(n)
			return 1, err
		}
	}
	fmt.Println("counting")
	var count blastCount
	var first, last time.Time
	for {
		n, err := receive()
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		now := time.Now()
		if first.IsZero() {
			first = now
		}
		for i := range n {
			if m.hdrs[i].n == uint32(len(blastEnd)) {
				count.Seconds = last.Sub(first).Seconds()
				return json.NewEncoder(os.Stdout).Encode(count)
			}
			count.Bytes += int64(m.hdrs[i].n)
			last = now
		}
	}
}

// An mmsg is what sendmmsg and recvmmsg work on.
type mmsg struct {
	hdrs []mmsghdr
	iovs []unix.Iovec
	oobs [][64]byte
}

type mmsghdr struct {
	unix.Msghdr
	n uint32
}

// newMmsg makes room for n messages, the ith of them with the payload buffer(i).
func newMmsg(n int, buffer func(i int) []byte) *mmsg {
	m := &mmsg{make([]mmsghdr, n), make([]unix.Iovec, n), make([][64]byte, n)}
	for i := range m.hdrs {
		b := buffer(i)
		m.iovs[i].Base = &b[0]
		m.iovs[i].SetLen(len(b))
		m.hdrs[i].Iov = &m.iovs[i]
		m.hdrs[i].SetIovlen(1)
	}
	return m
}

func (m *mmsg) payload(i int) []byte { return unsafe.Slice(m.iovs[i].Base, m.iovs[i].Len) }

// call makes the system call, which waits, and returns how many messages it moved.
func (m *mmsg) call(number, fd, flags int) (int, error) {
	n, _, errno := unix.Syscall6(uintptr(number), uintptr(fd), uintptr(unsafe.Pointer(&m.hdrs[0])), uintptr(len(m.hdrs)), uintptr(flags), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// A blasted is what the kernel carried.
type blasted struct {
	goodput  float64 // bits per second that the slowest receiver counted
	loss     float64 // share of what was sent that it did not get
	sender   float64 // CPU seconds for a billion bytes sent
	receiver float64 // for a billion received, of the slowest
}

// blast sends as fast as the kernel takes it.
func (b *bench) blast(how string, t trial) (r blasted) {
	net := b.net(t.receivers)
	b.prepare(net, t)
	var counters []*process
	for _, h := range net.Hosts()[1:] {
		counters = append(counters, b.begin(h, b.self, "blast", "count", how))
	}
	late := time.Now().Add(blastTime + 20*time.Second)
	for _, p := range counters {
		b.said(p, counting, late)
	}
	before := b.count(net)
	sender := b.begin(net.Host(0), b.self, "blast", "send", how)
	slowest, at := blastCount{}, 0
	for i, p := range counters {
		var c blastCount
		if err := json.Unmarshal([]byte(b.said(p, blastLine, late).text), &c); err != nil {
			b.Fatal(err)
		}
		if i == 0 || c.Bytes < slowest.Bytes {
			slowest, at = c, i
		}
	}
	b.said(sender, nil, late)
	sent := float64(b.count(net).sent.bytes - before.sent.bytes)
	r.goodput = float64(slowest.Bytes) * 8 / slowest.Seconds
	const frame = blastSegment + 8 + 20 + 14
	r.loss = max(0, 1-float64(slowest.Bytes)*frame/blastSegment/sent)
	r.sender = sender.stop().cpu.Seconds() / (sent * blastSegment / frame) * 1e9
	for i, p := range counters {
		if u := p.stop(); i == at {
			r.receiver = u.cpu.Seconds() / float64(slowest.Bytes) * 1e9
		}
	}
	return r
}

// begin starts a process that must start.
func (l *lab) begin(h *netns.Host, args ...string) *process {
	p, err := l.start(h, args...)
	if err != nil {
		l.Fatal(err)
	}
	return p
}

// said waits for what a process must say.
func (l *lab) said(p *process, match *regexp.Regexp, deadline time.Time) line {
	said, err := p.await(match, deadline)
	if err != nil {
		l.Fatalf("%v: %v", p.cmd.Args, err)
	}
	return said
}

var (
	counting  = regexp.MustCompile(`^counting$`)
	blastLine = regexp.MustCompile(`^\{"bytes"`)
)
