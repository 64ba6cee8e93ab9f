package upgrade_test

import (
	"log/slog"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/norm/udp"
)

// A tracer counts what it is told.
type tracer struct{ sent, received, events atomic.Int64 }

func (c *tracer) Sent(_ time.Time, _ netip.AddrPort, m []udp.Message) { c.sent.Add(int64(len(m))) }
func (c *tracer) Received(_ time.Time, m []udp.Message)               { c.received.Add(int64(len(m))) }
func (c *tracer) Event(time.Time, string, ...slog.Attr)               { c.events.Add(1) }

// TestTraces: the sessions of a campaign and of an agent tell their Tracer.
func TestTraces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 1, 0.05)
		var server, device tracer
		r.cfg.Trace = &server
		a := newAgentRig(t, r, r.devices[0].name)
		a.cfg.Trace = &device
		done := make(chan error, 1)
		go func() { done <- a.run(t.Context()) }()
		if _, err := r.open().Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]*tracer{"campaign": &server, "agent": &device} {
			if c.sent.Load() == 0 || c.received.Load() == 0 || c.events.Load() == 0 {
				t.Errorf("%s: %d sent, %d received, %d events", name, c.sent.Load(), c.received.Load(), c.events.Load())
			}
		}
	})
}
