package udp

import (
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// A detached socket is out of the hands of the runtime's poller: who reads waits in the kernel. The poller asks to be told
// of room to write, too, so each datagram that has left would wake a thread up for nothing, and to wait for one that comes
// would take three system calls, not one.
type detached struct {
	file   *os.File
	closed atomic.Bool
}

// detach takes the socket from package net, when all is set that this knows how to set. On error it is closed.
func (s *socket) detach() error {
	fd := -1
	var err error
	if cerr := s.raw.Control(func(old uintptr) {
		if fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			err = unix.SetNonblock(fd, false)
		}
	}); cerr != nil {
		err = cerr
	}
	s.conn.Close()
	if err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	s.file = os.NewFile(uintptr(fd), "udp")
	s.raw, err = s.file.SyscallConn()
	return err
}

// close closes the socket, and ends the calls that wait.
func (s *socket) close() error {
	if s.file == nil {
		return s.conn.Close()
	}
	s.closed.Store(true)
	s.raw.Control(func(fd uintptr) { syscall.Shutdown(int(fd), syscall.SHUT_RDWR) }) // which says that there is no connection, and wakes readers
	return s.file.Close()
}
