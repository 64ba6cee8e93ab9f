package session

import (
	"context"
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/udp"
)

// Stats are the counters of a Session since it was opened. Sender and Receiver are zero where there is none.
type Stats struct {
	Sender   norm.SenderStats   `json:"sender,omitzero"`
	Receiver norm.ReceiverStats `json:"receiver,omitzero"`

	Senders []norm.RemoteSender `json:"senders,omitempty"` // those that the receiver hears
	UDP     udp.Stats           `json:"udp,omitzero"`      // zero unless the Conn tells
	Unsent  uint64              `json:"unsent"`            // datagrams the socket refused
}

// Stats returns the counters.
func (s *Session) Stats(ctx context.Context) (st Stats, err error) {
	err = s.do(ctx, func(time.Time) { st = s.stats() })
	return st, err
}

func (s *Session) stats() Stats {
	st := Stats{Unsent: s.unsent}
	if s.tx != nil {
		st.Sender = s.tx.Stats()
	}
	if s.rx != nil {
		st.Receiver = s.rx.Stats()
		st.Senders = slices.Collect(s.rx.Senders())
	}
	if c, ok := s.cfg.Conn.(interface{ Stats() udp.Stats }); ok {
		st.UDP = c.Stats()
	}
	return st
}
