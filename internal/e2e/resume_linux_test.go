package e2e

import (
	"testing"

	"github.com/multicast-upgrade/tool/internal/netns"
	"github.com/multicast-upgrade/tool/merkle"
)

// What an agent that is killed has received and does not have on disk, with the default code and without loss: the block that
// was being received, and the part of a leaf before it.
const underWay = 128*1400 + merkle.MinLeafSize

// number returns a field of an event, 0 if it has none.
func (e event) number(field string) float64 { n, _ := e[field].(float64); return n }

// fetched is how many bytes an agent says have come to it.
func (p *process) fetched() float64 {
	all := p.all("progress")
	if len(all) == 0 {
		return 0
	}
	return all[len(all)-1].number("fetched")
}

// awaitShare waits until a share of the image is verified.
func (p *process) awaitShare(share float64) event {
	p.t.Helper()
	return p.await("progress", func(e event) bool {
		return e.kind() == "progress" && e.number("bytes") >= share*e.number("total")
	})
}

// An agent is killed three times. Each start goes on with all that the one before has said to have come, but for what was
// under way, and the last fetches what is missing. TestKilledAgentFetchesWhatWasUnderWay in package upgrade counts each datagram.
func TestKilledAgentFetchesNothingTwice(t *testing.T) {
	t.Parallel()
	const size = 6 << 20
	f := newFleet(t, 1, size)
	d := f.devices[0]
	d.host.Lose(netns.Loss{})
	d.join()
	server := f.serve("--rate", "8M")
	had := 0.0
	for _, share := range []float64{0.1, 0.5, 0.85} {
		d.awaitShare(share)
		d.kill()
		came := had + d.fetched()
		d.join()
		had = d.awaitEvent("receiving").number("bytes")
		t.Logf("%.0f bytes had come at least when it was killed, and %.0f are there", came, had)
		if came > had+underWay {
			t.Errorf("%.0f bytes had come, and it goes on with %.0f", came, had)
		}
	}
	server.wantExit(0)
	d.wantExit(0)
	t.Logf("then %.0f came, of %d", d.fetched(), size)
	if d.fetched() > size-had+underWay {
		t.Errorf("%.0f bytes came when %.0f were missing", d.fetched(), size-had)
	}
	if len(d.all("fallback")) > 0 {
		t.Error("it gave up multicast")
	}
}

// In mid-transfer the server is killed and continued on another host, which devices find by its name, and then a device is
// given another address. Nobody is started again, and nobody gives up multicast.
func TestAddressesChange(t *testing.T) {
	t.Parallel()
	netns.Require(t)
	const size, name = 8 << 20, "updates.test"
	hosts := netns.New(t, 4).Hosts()
	f := newFleetOn(t, hosts[0], hosts[2:], size)
	for _, d := range f.devices {
		d.host.Name(name, hosts[0].IPv4())
		d.args = append(d.args, "--server", "https://"+name+":8443")
	}
	f.join()
	server := f.serve("--rate", "16M", "--advertise", "https://"+name+":8443")
	f.devices[0].awaitShare(0.2)
	server.kill()
	for _, d := range f.devices {
		d.host.Name(name, hosts[1].IPv4())
	}
	server = start(t, hosts[1], "normsend", "upgrade", "--state", f.state, "--key", f.path("keys/server.key"), "--linger", "1s",
		"--listen", hosts[1].IPv4().String()+":8443")
	f.devices[0].awaitShare(0.35)
	f.devices[0].host.Readdress(100)
	server.wantExit(0)
	for _, d := range f.devices {
		d.wantExit(0)
		d.wantCalls("verify", "activate", "health")
		if events := append(d.all("fallback"), d.all("receiving")...); len(events) != 1 {
			t.Errorf("%s: %v, want one reception, by multicast", d.name, events)
		}
		t.Logf("%s: %.0f bytes came for %d", d.name, d.fetched(), size)
		if d.fetched() > size*1.1 {
			t.Errorf("%s: %.0f bytes came for %d", d.name, d.fetched(), size)
		}
	}
}
