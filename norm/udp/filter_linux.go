package udp

import (
	"net"

	"golang.org/x/sys/unix"
)

// ignoreOwn makes the kernel drop what this host sent from port, before it is
// queued: a sender would otherwise read back all its data, since its group's
// socket is a member like any other on this host. Another host may send from
// the same port, so a datagram must be one that was looped back; what arrives
// on the loopback interface is, though not marked so.
func (s *socket) ignoreOwn(port uint16, r *resolved) {
	const (
		sourcePort = 0                  // in the UDP header, which is where a filter starts
		packetType = 1<<32 - 0x1000 + 4 // SKF_AD_OFF + SKF_AD_PKTTYPE of linux/filter.h
	)
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: packetType},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 3, K: unix.PACKET_LOOPBACK},
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: sourcePort},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 1, K: uint32(port)},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: ^uint32(0)},
	}
	if r.ifi != nil && r.ifi.Flags&net.FlagLoopback != 0 {
		program = program[2:]
	}
	s.raw.Control(func(fd uintptr) {
		// Without the filter the protocol ignores them, by their node id. The
		// kernel counts what a filter drops as what the queue had no room for.
		s.reader.filtered = nil == unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	})
}
