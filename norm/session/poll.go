package session

import (
	"time"

	"github.com/multicast-upgrade/tool/norm/udp"
)

const (
	pollEvery  = time.Millisecond // time between reads while the socket is polled
	pollBusy   = 16               // datagrams in a batch: there may be more at hand already
	pollMisses = 3                // reads in a row that found nothing; then the reader waits for datagrams again
)

// A poll is the socket of a receiver in the loop's own hands. The reader waits for datagrams; while they keep coming, the loop
// takes them itself, a batch at a time, and lets the reader rest: a batch costs two system calls, where handing it over wakes
// up threads, and what comes in a burst is read at once. Drivers of network cards do the same for the same reason.
type poll struct {
	conn  *udp.Conn // nil: it cannot be polled
	on    bool
	batch []udp.Message

	heard  time.Time // when the reader had its last batch
	last   int       // datagrams in the last batch
	misses int
}

// newPoll returns a poll that is off. Only a receiver polls: what a sender hears is little, and times round trips.
func newPoll(cfg Config) (p poll) {
	conn, ok := cfg.Conn.(*udp.Conn) // itself: another Conn around it does something of its own
	if !ok || cfg.Send != nil {
		return p
	}
	if _, err := conn.TryReadBatch(nil); err == nil {
		p.conn, p.batch = conn, make([]udp.Message, readBatch)
	}
	return p
}

// start begins to poll, if that is possible, behind a batch that the reader has read, where datagrams keep coming. One by
// itself, longer behind the last than polling would go on for, is not followed by more so soon: at 50 datagrams a second to
// poll takes four wake-ups for each.
func (p *poll) start(now time.Time, datagrams int) bool {
	p.on = p.conn != nil && (datagrams > 1 || now.Sub(p.heard) < pollMisses*pollEvery)
	p.heard, p.last, p.misses = now, datagrams, 0
	return p.on
}

// read waits until there may be datagrams, but no longer than rest, and takes what is there. If p is not on any more, it is
// the reader's turn: little comes, or the socket is at fault.
func (p *poll) read(rest time.Duration) []udp.Message {
	if p.last < pollBusy && rest > 0 {
		nap(min(rest, pollEvery))
	}
	var err error
	if p.last, err = p.conn.TryReadBatch(p.batch); p.last > 0 {
		p.misses = 0
	} else if p.misses++; err != nil || p.misses >= pollMisses {
		p.on = false
	}
	return p.batch[:p.last]
}
