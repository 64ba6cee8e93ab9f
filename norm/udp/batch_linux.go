package udp

import (
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// batch holds what recvmmsg and sendmmsg work on. The reader owns reader, the
// writer owns writer.
type batch struct {
	reader reader
	writer writer
}

func (b *batch) init(s *socket, r *resolved) {
	b.reader.init(s, !r.NoOffload)
	b.writer.init(s, !r.NoOffload)
}

// canTry: there are reads that do not wait.
const canTry = true

func (s *socket) readBatch(msgs []Message) (int, error)    { return s.reader.read(msgs) }
func (s *socket) tryReadBatch(msgs []Message) (int, error) { return s.reader.tryRead(msgs) }
func (s *socket) writeBatch(msgs []Message) (int, error)   { return s.writer.write(msgs) }

func (s *socket) gso() bool { return s.writer.gso.Load() }
func (s *socket) gro() bool { return s.reader.gro }

// ioError is what a caller gets for a failed call.
func (s *socket) ioError(call string, err error, errno unix.Errno) error {
	switch {
	case s.closed.Load() || errors.Is(err, net.ErrClosed):
		return net.ErrClosed
	case err != nil:
		return err
	case errno != 0:
		return os.NewSyscallError(call, errno)
	}
	return nil
}
