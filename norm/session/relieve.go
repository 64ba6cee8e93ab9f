package session

import "time"

// maxStall is how long a datagram waits for the sink. The socket's queue takes what comes meanwhile. A sink that stands still for
// longer does not keep the protocol from going on: until it moves again, symbols that find no memory are lost.
const maxStall = 50 * time.Millisecond

// relieve completes requests until the receiver has memory for symbols again, or the sink is stuck.
func (s *Session) relieve() {
	patience := time.NewTimer(maxStall)
	defer patience.Stop()
	for s.rx.Pressed() {
		s.files.give()
		select {
		case j := <-s.files.done:
			s.complete(j)
			s.drainReceiver(time.Now())
		case <-patience.C:
			s.stuck = true
			return
		case <-s.closed:
			return
		}
	}
}
