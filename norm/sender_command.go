package norm

import (
	"fmt"
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// maxCommands is how many commands of the application may be under way.
const maxCommands = 16

// A commander is the state of the NORM_CMD(APPLICATION) being sent (RFC 5740, Section 4.2.3.7).
type commander struct {
	commands []*appCommand // the one to be sent next first
	message  wire.Application
}

type appCommand struct {
	content string
	left    int // repetitions
	next    time.Time
}

// Command sends up to SegmentSize bytes to the application of each receiver, ahead of data. It is not reliable: with
// robust, it is sent RobustFactor times, once in 2*GRTT, and each copy that arrives is an AppCommand event there;
// otherwise once. A CommandSent event follows the last. The errors are [ErrEnding], [ErrTooManyRequests] while 16 others
// are being sent, or tell that it is too long.
func (s *Sender) Command(now time.Time, content []byte, robust bool) error {
	s.expire(now)
	switch {
	case s.ending:
		return ErrEnding
	case len(content) > s.cfg.SegmentSize: // "limited to the NormSegmentSize"
		return fmt.Errorf("norm: a command of %d bytes: want at most the segment size, %d", len(content), s.cfg.SegmentSize)
	case len(s.app.commands) >= maxCommands:
		return ErrTooManyRequests
	}
	c := &appCommand{content: string(content), left: 1, next: now}
	if robust {
		c.left = s.cfg.RobustFactor
	}
	s.app.commands = append(s.app.commands, c)
	s.scheduleCommand()
	s.settle(now)
	return nil
}

// scheduleCommand puts the commands in the order in which they are to be sent.
func (s *Sender) scheduleCommand() {
	s.timers[timerCommand] = time.Time{}
	if len(s.app.commands) > 0 {
		slices.SortStableFunc(s.app.commands, func(a, b *appCommand) int { return a.next.Compare(b.next) })
		s.timers[timerCommand] = s.app.commands[0].next
	}
}

// appendCommand appends the NORM_CMD(APPLICATION) whose turn it is.
func (s *Sender) appendCommand(now time.Time, b []byte) []byte {
	c := s.app.commands[0]
	c.next = now.Add(s.grtts(2))
	if c.left--; c.left == 0 {
		s.app.commands = slices.Delete(s.app.commands, 0, 1)
		s.emit(Event{Kind: CommandSent, Content: c.content})
	}
	s.scheduleCommand()
	s.stats.Commands++
	s.app.message = wire.Application{Header: s.header(), SenderHeader: s.senderHeader()}
	return append(encoded(s.app.message.AppendBinary(b)), c.content...)
}
