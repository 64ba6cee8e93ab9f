package udp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An mmsghdr is struct mmsghdr of recvmmsg(2) and sendmmsg(2). Go pads it at
// the end as C does, on 32 and on 64 bits.
type mmsghdr struct {
	unix.Msghdr
	n uint32 // msg_len: bytes moved
}

// A mmsgCall is recvmmsg or sendmmsg: it returns how many headers were used.
type mmsgCall func(fd uintptr, hdrs []mmsghdr) (int, unix.Errno)

// recvmmsg waits for the first datagram, and tryRecvmmsg for none.
func recvmmsg(fd uintptr, hdrs []mmsghdr) (int, unix.Errno) {
	return recvmmsgFlags(fd, hdrs, unix.MSG_WAITFORONE)
}

func tryRecvmmsg(fd uintptr, hdrs []mmsghdr) (int, unix.Errno) {
	return recvmmsgFlags(fd, hdrs, unix.MSG_DONTWAIT)
}

func recvmmsgFlags(fd uintptr, hdrs []mmsghdr, flags uintptr) (int, unix.Errno) {
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&hdrs[0])), uintptr(len(hdrs)), flags, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

func sendmmsg(fd uintptr, hdrs []mmsghdr) (int, unix.Errno) {
	n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&hdrs[0])), uintptr(len(hdrs)), 0, 0, 0)
	return int(n), errno
}

// A name is a socket address in the kernel's form, of either IP version.
type name = unix.RawSockaddrInet6

// setName writes to into sa and returns its length.
func setName(sa *name, to netip.AddrPort, zones *zones) uint32 {
	if to.Addr().Is4() {
		sa4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		*sa4 = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: to.Addr().As4()}
		putPort(&sa4.Port, to.Port())
		return unix.SizeofSockaddrInet4
	}
	*sa = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: to.Addr().As16()}
	putPort(&sa.Port, to.Port())
	sa.Scope_id = zones.index(to.Addr().Zone())
	return unix.SizeofSockaddrInet6
}

// addrPort reads sa.
func addrPort(sa *name, zones *zones) netip.AddrPort {
	if sa.Family == unix.AF_INET {
		sa4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(sa4.Addr), port(&sa4.Port))
	}
	a := netip.AddrFrom16(sa.Addr)
	if sa.Scope_id != 0 {
		a = a.WithZone(zones.name(sa.Scope_id))
	}
	return netip.AddrPortFrom(a, port(&sa.Port))
}

// A port lies in network order in a field that Go takes for a native integer.
func putPort(field *uint16, p uint16) {
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(field))[:], p)
}

func port(field *uint16) uint16 {
	return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(field))[:])
}

// zones remembers the last interface a link-local address was on, by index and
// by name: a session has one, and looking it up costs system calls.
type zones struct {
	lastIndex uint32
	lastName  string
}

func (z *zones) name(index uint32) string {
	if z.lastIndex != index {
		z.lastIndex, z.lastName = index, strconv.FormatUint(uint64(index), 10)
		if ifi, err := net.InterfaceByIndex(int(index)); err == nil {
			z.lastName = ifi.Name
		}
	}
	return z.lastName
}

func (z *zones) index(name string) uint32 {
	switch {
	case name == "":
		return 0
	case name == z.lastName:
		return z.lastIndex
	}
	var index uint64
	if ifi, err := net.InterfaceByName(name); err == nil {
		index = uint64(ifi.Index)
	} else {
		index, _ = strconv.ParseUint(name, 10, 32) // 0, an error to the kernel, if it is no number either
	}
	z.lastIndex, z.lastName = uint32(index), name
	return z.lastIndex
}
