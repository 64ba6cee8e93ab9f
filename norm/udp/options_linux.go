package udp

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	errAddrInUse    = unix.EADDRINUSE
	errAddrNotAvail = unix.EADDRNOTAVAIL

	receivedTOS = unix.IP_TOS // the control message that IP_RECVTOS asks for
)

// shareAddress lets several sockets bind the session's port; each of them gets
// the group's datagrams.
func shareAddress(fd uintptr) error {
	return unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
}

// receiveOptions asks for control messages, and for multicast to the socket's
// own groups alone: a socket bound to the wildcard address otherwise gets
// groups that other sockets have joined.
func receiveOptions(fd uintptr, is4 bool) error {
	level, on, all := unix.IPPROTO_IPV6, []int{unix.IPV6_RECVPKTINFO, unix.IPV6_RECVTCLASS}, unix.IPV6_MULTICAST_ALL
	if is4 {
		level, on, all = unix.IPPROTO_IP, []int{unix.IP_PKTINFO, unix.IP_RECVTOS}, unix.IP_MULTICAST_ALL
	}
	for _, opt := range on {
		if err := unix.SetsockoptInt(int(fd), level, opt, 1); err != nil {
			return err
		}
	}
	// Kernels before 4.20 lack IPV6_MULTICAST_ALL; accept.judge does without.
	if err := unix.SetsockoptInt(int(fd), level, all, 0); err != nil && !errors.Is(err, unix.ENOPROTOOPT) {
		return err
	}
	return unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1)
}

// parseSystem reads the control messages that only Linux has.
func (c *control) parseSystem(level, kind int32, data []byte) {
	switch {
	case len(data) < 4:
	case level == unix.SOL_UDP && kind == unix.UDP_GRO:
		c.segment = int(binary.NativeEndian.Uint32(data))
	case level == unix.SOL_SOCKET && kind == unix.SO_RXQ_OVFL:
		c.overflow = binary.NativeEndian.Uint32(data)
	}
}

// setMulticastSource makes from the source address of IPv4 multicast, also
// where the socket is bound to the wildcard address.
func setMulticastSource(s *socket, ifi *net.Interface, from netip.Addr) error {
	mreq := unix.IPMreqn{Address: from.As4(), Ifindex: int32(ifi.Index)}
	var err error
	return errors.Join(s.raw.Control(func(fd uintptr) {
		err = unix.SetsockoptIPMreqn(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &mreq)
	}), err)
}

func joinSource(s *socket, r *resolved, group, source net.Addr) error {
	return s.options(r).JoinSourceSpecificGroup(r.ifi, group, source)
}

func leaveSource(s *socket, r *resolved, group, source net.Addr) error {
	return s.options(r).LeaveSourceSpecificGroup(r.ifi, group, source)
}

// setBuffers asks for queues of these sizes and returns those granted. Beyond
// the system's limit it tries again as an administrator would.
func setBuffers(s *socket, read, write int) (gotRead, gotWrite int, err error) {
	buffer := func(fd, opt, force, size int) (int, error) {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt, size); err != nil {
			return 0, err
		}
		got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, opt)
		if err == nil && got/2 < size && unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, size) == nil {
			got, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, opt)
		}
		return got / 2, err // the kernel doubles it for its own bookkeeping: socket(7)
	}
	cerr := s.raw.Control(func(fd uintptr) {
		gotRead, err = buffer(int(fd), unix.SO_RCVBUF, unix.SO_RCVBUFFORCE, read)
		if err == nil {
			gotWrite, err = buffer(int(fd), unix.SO_SNDBUF, unix.SO_SNDBUFFORCE, write)
		}
	})
	return gotRead, gotWrite, errors.Join(cerr, err)
}

// setInt sets an integer option.
func setInt(raw syscall.RawConn, level, opt, value int) error {
	var err error
	return errors.Join(raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), level, opt, value)
	}), err)
}
