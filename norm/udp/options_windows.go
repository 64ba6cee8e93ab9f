package udp

import (
	"errors"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/windows"
)

const (
	errAddrInUse    = windows.WSAEADDRINUSE
	errAddrNotAvail = windows.WSAEADDRNOTAVAIL

	controlSize = 0 // no control messages are asked for

	mcastJoinSourceGroup  = 45 // MCAST_JOIN_SOURCE_GROUP of ws2ipdef.h
	mcastLeaveSourceGroup = 46 // MCAST_LEAVE_SOURCE_GROUP
)

// shareAddress lets several sockets bind the session's port; each of them gets
// the group's datagrams.
func shareAddress(fd uintptr) error {
	return windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, windows.SO_REUSEADDR, 1)
}

// receiveOptions has nothing to ask for: package net cannot read them here.
func receiveOptions(uintptr, bool) error { return nil }

// parse finds nothing, so that every datagram is delivered.
func (c *control) parse([]byte) { *c = control{} }

// A groupSourceReq is GROUP_SOURCE_REQ of ws2ipdef.h.
type groupSourceReq struct {
	Interface uint32
	_         [4]byte // SOCKADDR_STORAGE is aligned to 8 bytes
	Group     [128]byte
	Source    [128]byte
}

// putSockaddr writes a as a SOCKADDR_IN or SOCKADDR_IN6 at the start of b.
func putSockaddr(b *[128]byte, a *net.UDPAddr) {
	if ip := a.IP.To4(); ip != nil {
		sa := (*windows.RawSockaddrInet4)(unsafe.Pointer(b))
		sa.Family, sa.Addr = windows.AF_INET, [4]byte(ip)
		return
	}
	sa := (*windows.RawSockaddrInet6)(unsafe.Pointer(b))
	sa.Family, sa.Addr = windows.AF_INET6, [16]byte(a.IP)
}

// joinSource joins by the option that RFC 3678, Section 5 defines for both IP
// versions, which package ipv4 does not use here.
func joinSource(s *socket, r *resolved, group, source net.Addr) error {
	return setGroupSource(s, r, mcastJoinSourceGroup, group, source)
}

func leaveSource(s *socket, r *resolved, group, source net.Addr) error {
	return setGroupSource(s, r, mcastLeaveSourceGroup, group, source)
}

func setGroupSource(s *socket, r *resolved, opt int32, group, source net.Addr) error {
	var req groupSourceReq
	putSockaddr(&req.Group, group.(*net.UDPAddr))
	putSockaddr(&req.Source, source.(*net.UDPAddr))
	if r.ifi != nil {
		req.Interface = uint32(r.ifi.Index)
	}
	level := int32(windows.IPPROTO_IPV6)
	if r.is4() {
		level = windows.IPPROTO_IP
	}
	var err error
	return errors.Join(s.raw.Control(func(fd uintptr) {
		err = windows.Setsockopt(windows.Handle(fd), level, opt,
			(*byte)(unsafe.Pointer(&req)), int32(unsafe.Sizeof(req)))
	}), err)
}

// setMulticastSource leaves the choice to the system, which takes the address
// from the interface that multicast leaves by.
func setMulticastSource(*socket, *net.Interface, netip.Addr) error { return nil }

// setBuffers asks for queues of these sizes and returns those granted.
func setBuffers(s *socket, read, write int) (gotRead, gotWrite int, err error) {
	buffer := func(fd windows.Handle, opt, size int) (int, error) {
		if err := windows.SetsockoptInt(fd, windows.SOL_SOCKET, opt, size); err != nil {
			return 0, err
		}
		return windows.GetsockoptInt(fd, windows.SOL_SOCKET, opt)
	}
	cerr := s.raw.Control(func(fd uintptr) {
		gotRead, err = buffer(windows.Handle(fd), windows.SO_RCVBUF, read)
		if err == nil {
			gotWrite, err = buffer(windows.Handle(fd), windows.SO_SNDBUF, write)
		}
	})
	return gotRead, gotWrite, errors.Join(cerr, err)
}

// transient reports whether reading goes on after err: a datagram sent earlier
// found nobody listening (WSAECONNRESET, WSAENETRESET), or one received was
// longer than a datagram can be.
func transient(err error) bool {
	return errors.Is(err, windows.WSAECONNRESET) || errors.Is(err, windows.WSAENETRESET) ||
		errors.Is(err, windows.WSAEMSGSIZE)
}
