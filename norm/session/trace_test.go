package session_test

import (
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/udp"
)

// A tally is a Tracer that counts. The loop writes it; it is read after Close.
type tally struct {
	sent, received uint64
	events         []string
}

func (c *tally) Sent(_ time.Time, _ netip.AddrPort, msgs []udp.Message) { c.sent += uint64(len(msgs)) }
func (c *tally) Received(_ time.Time, msgs []udp.Message)               { c.received += uint64(len(msgs)) }
func (c *tally) Event(_ time.Time, name string, _ ...slog.Attr)         { c.events = append(c.events, name) }

// TestTrace: a Tracer is told of every datagram that the counters count, and of every event in order.
func TestTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, image := lossy(0.1), content(100_000, 1)
		var tx, rx tally
		r := open(t, session.Config{Conn: net.open(10), Receive: receiving(10), Trace: &rx,
			Offer: func(norm.Handle, norm.ReceivedObject) session.Sink { return make(memory, len(image)) }})
		s := open(t, session.Config{Conn: net.open(1), Send: sending(1), Trace: &tx})
		send(t, s, image)
		await(t, r, norm.ObjectComplete)
		sent, received := stats(t, s).Sender.Datagrams, stats(t, r).Receiver.Datagrams
		s.Close()
		r.Close()
		if tx.sent < sent || tx.sent == 0 || rx.received < received || received == 0 {
			t.Errorf("sent %d, traced %d; received %d, traced %d", sent, tx.sent, received, rx.received)
		}
		if tx.received == 0 || rx.sent == 0 {
			t.Errorf("over loss, %d NACKs arrived and %d were sent", tx.received, rx.sent)
		}
		if len(rx.events) < 4 || rx.events[0] != "sender-seen" || rx.events[1] != "object-offered" || rx.events[len(rx.events)-1] != "object-complete" {
			t.Errorf("events %q", rx.events)
		}
	})
}
