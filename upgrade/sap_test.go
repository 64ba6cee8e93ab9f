package upgrade_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/upgrade"
)

// withSAP has the campaign announced, and the agents listen, on a network of its own.
func (r *wholeRig) withSAP() *lan {
	air := newLAN(7, 0)
	open := func() discovery.PacketConn {
		c, _ := air.open() // never fails
		return c.(discovery.PacketConn)
	}
	r.cfg.SAP = true
	r.cfg.SAPConn = func() (discovery.PacketConn, netip.Addr, error) { return open(), netip.MustParseAddr("10.0.0.1"), nil }
	for _, a := range r.agents {
		a.cfg.SAP, a.cfg.GroupSize = true, 10
		a.cfg.SAPConns = func() ([]discovery.PacketConn, error) { return []discovery.PacketConn{open()}, nil }
	}
	return air
}

var _ session.Conn = discovery.PacketConn(nil)

// Agents that listen hear of a campaign when it begins, long before they would have asked by themselves; without an
// announcement they ask in their own time.
func TestCampaignIsHeardBySAP(t *testing.T) {
	for _, silent := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newWholeRig(t, 3, 0.05)
			air := r.withSAP()
			if silent {
				air.setLoss(1)
			}
			for _, a := range r.agents {
				defer r.start(a)()
			}
			time.Sleep(2 * time.Hour) // nobody answers, and the agents come to rest
			began := time.Now()
			got, err := r.open().Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			took := time.Since(began)
			r.wantVerdict(got, commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
			r.wantSteps(wholeWay, wholeWay, wholeWay)
			for _, a := range r.agents {
				if a.saw(upgrade.EventHinted) == silent {
					t.Errorf("silent %v: %s was hinted: %v", silent, a.cfg.Device, !silent)
				}
			}
			if took > 2*time.Minute != silent {
				t.Errorf("silent %v: the campaign took %v", silent, took)
			}
		})
	}
}
