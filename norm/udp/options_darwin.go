package udp

import (
	"errors"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	errAddrInUse    = unix.EADDRINUSE
	errAddrNotAvail = unix.EADDRNOTAVAIL

	receivedTOS = unix.IP_RECVTOS // the control message is named as the option
)

// shareAddress lets several sockets bind the session's port; each of them gets
// the group's datagrams. Here the wildcard address needs SO_REUSEPORT for that.
func shareAddress(fd uintptr) error {
	return unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
}

// receiveOptions asks for control messages.
func receiveOptions(fd uintptr, is4 bool) error {
	level, on := unix.IPPROTO_IPV6, []int{unix.IPV6_RECVPKTINFO, unix.IPV6_RECVTCLASS}
	if is4 {
		level, on = unix.IPPROTO_IP, []int{unix.IP_RECVPKTINFO, unix.IP_RECVTOS}
	}
	for _, opt := range on {
		if err := unix.SetsockoptInt(int(fd), level, opt, 1); err != nil {
			return err
		}
	}
	return nil
}

// parseSystem has nothing to add here.
func (*control) parseSystem(int32, int32, []byte) {}

func joinSource(s *socket, r *resolved, group, source net.Addr) error {
	return s.options(r).JoinSourceSpecificGroup(r.ifi, group, source)
}

func leaveSource(s *socket, r *resolved, group, source net.Addr) error {
	return s.options(r).LeaveSourceSpecificGroup(r.ifi, group, source)
}

// setMulticastSource leaves the choice to the system, which takes the address
// from the interface that multicast leaves by.
func setMulticastSource(*socket, *net.Interface, netip.Addr) error { return nil }

// setBuffers asks for queues of these sizes, and for half as much where that
// is beyond the system's limit. It returns the sizes granted.
func setBuffers(s *socket, read, write int) (gotRead, gotWrite int, err error) {
	buffer := func(fd, opt, size int) (int, error) {
		err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt, size)
		for ; errors.Is(err, unix.ENOBUFS) && size > 64<<10; err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt, size) {
			size /= 2
		}
		if err != nil {
			return 0, err
		}
		return unix.GetsockoptInt(fd, unix.SOL_SOCKET, opt)
	}
	cerr := s.raw.Control(func(fd uintptr) {
		gotRead, err = buffer(int(fd), unix.SO_RCVBUF, read)
		if err == nil {
			gotWrite, err = buffer(int(fd), unix.SO_SNDBUF, write)
		}
	})
	return gotRead, gotWrite, errors.Join(cerr, err)
}

// transient reports whether reading goes on after err.
func transient(error) bool { return false }
