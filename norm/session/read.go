package session

import (
	"fmt"
	"time"

	"github.com/multicast-upgrade/tool/norm/udp"
)

const (
	readPause   = 10 * time.Millisecond // after a call that failed
	maxFailures = 500                   // of them in a row: 5 s
)

// read fills batches for the loop; a batch is filled again when the loop has used it.
func (s *Session) read(in chan<- []udp.Message, used <-chan struct{}) {
	msgs := make([]udp.Message, readBatch)
	for failures := 0; ; {
		n, err := s.cfg.Conn.ReadBatch(msgs)
		switch {
		case isClosed(err):
			s.shut(nil) // no-op unless someone else closed the socket
			return
		case err == nil:
			failures = 0
		// A socket may report an earlier datagram that could not be delivered, or that its interface is down for now;
		// one that does nothing else is broken.
		case failures == maxFailures:
			s.shut(fmt.Errorf("session: receiving: %w", err))
			return
		default:
			failures++
			s.cfg.Log.Debug("receiving failed", "error", err)
			if !s.sleep(readPause) {
				return
			}
		}
		if n == 0 {
			continue
		}
		select {
		case in <- msgs[:n]:
			select {
			case <-used:
			case <-s.closed:
				return
			}
		case <-s.closed:
			return
		}
	}
}

// sleep waits; it reports false if the session was closed meanwhile.
func (s *Session) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.closed:
		return false
	}
}
