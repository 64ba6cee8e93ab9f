package udp

import (
	"errors"
	"net"
	"sync"
)

// mergeBatch is how many datagrams are read from a socket at a time.
const mergeBatch = 64

// A merge reads from several sockets as if they were one. Each socket has a
// goroutine that reads a batch, offers it, and waits until it is used up
// before it reads again, because the next read overwrites the batch. A sender
// needs this, and what it hears is feedback: little; and a receiver with a repair group.
type merge struct {
	sockets []*socket
	ready   chan *pump
	closed  chan struct{}
	pumps   sync.WaitGroup

	current *pump // whose batch is being handed out; owned by the reader
}

// A pump is one socket's side of a merge. Its batch belongs to the goroutine
// until the pump is offered, and to the reader until again is signalled.
type pump struct {
	batch []Message
	left  []Message // what of batch the reader has not been given yet
	err   error
	again chan struct{}
}

func newMerge(sockets ...*socket) *merge {
	m := &merge{sockets: sockets, ready: make(chan *pump), closed: make(chan struct{})}
	for _, s := range sockets {
		m.pumps.Go(func() { m.run(s) })
	}
	return m
}

// run pumps from s until m is closed.
func (m *merge) run(s *socket) {
	p := &pump{batch: make([]Message, mergeBatch), again: make(chan struct{})}
	for {
		n, err := s.readBatch(p.batch)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		p.left, p.err = p.batch[:n], err
		select {
		case m.ready <- p:
		case <-m.closed:
			return
		}
		select {
		case <-p.again:
		case <-m.closed:
			return
		}
	}
}

func (m *merge) readBatch(msgs []Message) (int, error) {
	if p := m.current; p != nil && len(p.left) == 0 {
		m.current = nil
		select {
		case p.again <- struct{}{}:
		case <-m.closed:
		}
	}
	if m.current == nil {
		select {
		case m.current = <-m.ready:
		case <-m.closed:
			return 0, net.ErrClosed
		}
	}
	p := m.current
	n := copy(msgs, p.left)
	p.left = p.left[n:]
	return n, p.err
}

// close closes the sockets and waits for the goroutines.
func (m *merge) close() {
	close(m.closed)
	for _, s := range m.sockets {
		s.close()
	}
	m.pumps.Wait()
}
