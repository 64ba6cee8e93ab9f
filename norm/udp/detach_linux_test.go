package udp

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// attach gives the socket back to package net, so that a test can use what it knows of sockets.
func (s *socket) attach(t *testing.T) {
	t.Helper()
	c, err := net.FilePacketConn(s.file)
	if err == nil {
		t.Cleanup(func() { c.Close() })
		s.conn = c.(*net.UDPConn)
		err = unix.SetNonblock(int(s.file.Fd()), false) // for both
	}
	if err != nil {
		t.Fatal(err)
	}
}
