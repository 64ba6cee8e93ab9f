package udp

import "golang.org/x/sys/unix"

// ignoreOwn makes the kernel drop what was sent from this port, before it is
// queued: a sender would otherwise read back all its data, since its group's
// socket is a member like any other on this host. Receivers send from the
// session's port, which this is not.
func (s *socket) ignoreOwn(port uint16) {
	const sourcePort = 0 // offset in the UDP header, which is where a filter starts
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: sourcePort},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 1, K: uint32(port)},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: ^uint32(0)},
	}
	s.raw.Control(func(fd uintptr) {
		// Without the filter the protocol ignores them, by their node id.
		unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	})
}
