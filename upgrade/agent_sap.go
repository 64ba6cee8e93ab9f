package upgrade

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
)

// A sapListener is what an agent has to hear announcements.
type sapListener struct {
	hints *discovery.Hints
	conns []discovery.PacketConn
}

// openSAP joins the groups where campaigns are announced, if the agent is to hear of them so.
func (a *Agent) openSAP() (err error) {
	if !a.cfg.SAP {
		return nil
	}
	if a.sap.conns, err = a.cfg.SAPConns(); err != nil {
		return err
	}
	a.sap.hints = discovery.NewHints(discovery.HintsConfig{Servers: func() []manifest.PublicKey { return a.trust().Servers }, GroupSize: a.cfg.GroupSize, Busy: a.busy.Load})
	a.client.Hints = a.sap.hints
	return nil
}

// hearSAP listens until the sockets are closed. What is heard makes the agent ask its server, and nothing else: the two
// signed documents come from there, as they do without SAP.
func (a *Agent) hearSAP() {
	for _, conn := range a.sap.conns {
		a.work.Go(func() { discovery.ListenSAP(conn, a.heardSAP) })
	}
}

func (a *Agent) heardSAP(s discovery.Announcement, from netip.Addr) {
	if !a.sap.hints.Hear(time.Now(), s) {
		a.log.Debug("an announcement is no news", "campaign", s.Campaign, "serial", s.Serial, "from", from)
		return
	}
	a.tell.tell(Event{Kind: EventHinted, Campaign: s.Campaign.String(), Group: s.Group.String(), Detail: fmt.Sprintf("SAP, from %v", from)})
}

func (a *Agent) closeSAP() {
	for _, conn := range a.sap.conns {
		conn.Close()
	}
	a.sap.conns = nil
}

// knowSession notes a description that the server has signed.
func (a *Agent) knowSession(s *manifest.Session) {
	if a.sap.hints != nil {
		a.sap.hints.Know(s)
	}
}

// noteBusy tells the goroutine that follows the server whether it may have news at any moment.
func (a *Agent) noteBusy() {
	_, holds := a.p.Holds()
	a.busy.Store(holds || a.following != nil && a.following.stop != nil)
}
