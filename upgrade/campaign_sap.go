package upgrade

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/udp"
)

// A sapAnnouncer is what a campaign has to be announced by SAP: a socket, and then somebody who uses it.
type sapAnnouncer struct {
	conn    discovery.PacketConn // nil once running has it
	host    netip.Addr
	ttl     int
	running *discovery.SAPAnnouncer
}

// openSAP opens the socket, so that what is wrong is known before anything else.
func (c *Campaign) openSAP() (err error) {
	s := c.frozen.Settings
	if !s.SAP {
		return nil
	}
	c.sap.ttl = c.Link().TTL
	if c.cfg.SAPConn != nil {
		c.sap.conn, c.sap.host, err = c.cfg.SAPConn()
		return err
	}
	conn, err := discovery.OpenSAP(udp.Config{Group: s.Group, Interface: s.Interface, Source: s.Source, TTL: s.TTL})
	if err != nil {
		return fmt.Errorf("--sap: %w", err)
	}
	c.sap.conn = conn
	c.sap.host, err = discovery.HostAddr(conn)
	return err
}

// lead returns how long before sending the campaign is announced. Devices that hear it by SAP ask the server one after the
// other; those that come later than the start would have to catch up.
func (c *Campaign) lead() time.Duration {
	if !c.frozen.Settings.SAP {
		return c.cfg.Lead
	}
	return c.cfg.Lead + discovery.Spread(c.groupSize())
}

func (c *Campaign) groupSize() int {
	return cmp.Or(c.frozen.Settings.GroupSize, discovery.DefaultGroupSize)
}

// announceSAP begins to announce a session description. That it cannot be is no end: the rendezvous has it.
func (c *Campaign) announceSAP(now time.Time, s *manifest.Session) {
	if c.sap.conn == nil {
		return
	}
	m := c.release.manifest
	a := discovery.NewAnnouncement(s, c.cfg.Key.Public(), m.Product+" "+m.Version)
	a.TTL, a.GroupSize = uint8(c.sap.ttl), uint32(c.groupSize())
	running, err := discovery.AnnounceSAP(c.sap.conn, c.sap.host, a)
	if err != nil {
		c.cfg.Log.Error("the campaign cannot be announced by SAP", "err", err)
		c.emit(now, Event{Kind: EventTrouble, Detail: "the campaign cannot be announced by SAP: " + err.Error()})
		return
	}
	c.sap.conn, c.sap.running = nil, running
}

// end begins to say that the campaign is over, if it is, and returns what waits for that.
func (s *sapAnnouncer) end(over bool) (wait func()) {
	if s.running == nil {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(context.Background(), endPatience)
		defer cancel()
		s.running.End(ctx, over)
	}()
	return func() { <-done }
}

func (s *sapAnnouncer) close() {
	if s.conn != nil {
		s.conn.Close()
	}
}
