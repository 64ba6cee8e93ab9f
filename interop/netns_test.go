//go:build linux

package interop

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/multicast-upgrade/tool/internal/netns"
)

// netPort is the port of sessions in network namespaces, where nobody else is.
const netPort = 6003

// inNet are the ways of a transfer between hosts, namespaces that a bridge joins, each of whose receivers loses a share of
// all datagrams at random, its own losses.
func (x transfer) inNet(share float64) []way {
	between := func(from, to implementation) way {
		return way{from.name + " → " + to.name, func(t *testing.T) { x.runInNet(t, from, to, share) }}
	}
	return []way{between(nrl, ours), between(ours, nrl)}
}

func (x transfer) runInNet(t *testing.T, from, to implementation, share float64) {
	netns.Require(t)
	if !x.group.IsValid() {
		x.group = multicast4
	}
	at := netip.AddrPortFrom(x.group, netPort)
	net := netns.New(t, 1+max(x.receivers, 1))
	var receivers []*peer
	for i, host := range net.Hosts()[1:] {
		host.Lose(netns.Loss{Share: share, Port: netPort})
		n := x.receiver(i, at)
		n.host = host
		receivers = append(receivers, to.receive(t, n))
	}
	n := x.sender(at)
	n.host = net.Host(0)
	from.send(t, n)
	for i, p := range receivers {
		p.awaitObjects(t, x.objects)
		if share > 0 && net.Host(i+1).Lost() == 0 {
			t.Errorf("receiver %d lost nothing", i)
		}
	}
}

// percent is a share as the document writes it.
func percent(share float64) string { return fmt.Sprintf("%.0f %%", share*100) }
