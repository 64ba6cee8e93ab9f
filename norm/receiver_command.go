package norm

import (
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// handleApplication processes a NORM_CMD(APPLICATION): each copy is for the application, which knows what it has seen.
func (r *Receiver) handleApplication(now time.Time, m *wire.Application) error {
	s, err := r.sender(now, m.Header, m.SenderHeader)
	if err != nil {
		return err
	}
	r.events.push(Event{Kind: AppCommand, Sender: s.id, Instance: s.instance, Content: string(m.Payload)})
	return nil
}
