package e2e

import (
	"net/netip"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/internal/netns"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/udp"
)

// Devices that were at rest, because nobody answered them, hear the announcement of a campaign and take part in it, and so
// does one whose campaign is announced by IPv6. What a forger, and a replay, say is not followed.
func TestUpgradeIsHeardBySAP(t *testing.T) {
	t.Parallel()
	for _, group := range []string{"239.77.2.1:6003", "[ff15::77:1]:6003"} {
		t.Run(group, func(t *testing.T) {
			f := newFleet(t, 2, fleetImage)
			f.group = netip.MustParseAddrPort(group)
			for _, d := range f.devices {
				d.args = append(d.args, "--discover", "sap", "--group-size", "100")
			}
			f.join()
			for _, d := range f.devices {
				d.awaitEvent("trouble") // the server is not there
			}
			stranger := f.devices[1].host
			foreign, replay := f.announcement("another"), f.announcement("keys/server.pub")
			f.say(stranger, foreign)

			server := f.serve("--sap", "--group-size", "100")
			for _, d := range f.devices {
				hint := d.awaitEvent("hinted")
				if hint["campaign"] == foreign.Campaign.String() || hint["group"] != group {
					t.Errorf("%s followed %v", d.name, hint)
				}
				d.await("the announced campaign", func(e event) bool { return e.kind() == "announced" && e["campaign"] == hint["campaign"] })
			}
			f.say(stranger, replay) // of a campaign that this server does not have
			server.wantExit(0)
			for _, d := range f.devices {
				d.wantExit(0)
				d.wantCalls("verify", "activate", "health")
				for _, e := range d.all("announced") {
					if e["campaign"] == foreign.Campaign.String() || e["campaign"] == replay.Campaign.String() {
						t.Errorf("%s believed %v", d.name, e)
					}
				}
			}
		})
	}
}

// announcement is one that nobody signed: of a campaign by the key of a file, or by a key that nobody knows.
func (f *fleet) announcement(key string) discovery.Announcement {
	f.t.Helper()
	public, err := manifest.LoadPublicKey(f.path(key), manifest.RoleServer)
	if err != nil {
		made, err := manifest.GenerateKey(manifest.RoleServer, nil)
		if err != nil {
			f.t.Fatal(err)
		}
		public = made.Public()
	}
	now := time.Now().Truncate(time.Second)
	return discovery.NewAnnouncement(&manifest.Session{
		Campaign: manifest.CampaignID{byte(len(key)), 0xff}, Serial: 9, Issued: now, Expires: now.Add(time.Hour), Manifest: manifest.Digest{1},
		Group: f.group, NodeID: 9, Objects: manifest.ObjectsFor(1), FEC: manifest.FEC{ID: 0, BlockSize: 64, SegmentSize: 1400, Dialect: manifest.DialectRFC},
		Start: now, VoteDeadline: now.Add(time.Minute), Hold: time.Minute, Report: f.url(),
	}, public, "forged")
}

// say announces from a host.
func (f *fleet) say(host *netns.Host, a discovery.Announcement) {
	f.t.Helper()
	var conn *udp.Conn
	var err error
	host.Do(func() { conn, err = discovery.OpenSAP(udp.Config{Group: f.group, Interface: netns.Interface}) })
	if err != nil {
		f.t.Fatal(err)
	}
	var from netip.Addr
	host.Do(func() { from, err = discovery.HostAddr(conn) })
	if err != nil {
		f.t.Fatal(err)
	}
	s, err := discovery.AnnounceSAP(conn, from, a)
	if err != nil {
		f.t.Fatal(err)
	}
	s.End(f.t.Context(), true) // once it was said
}
