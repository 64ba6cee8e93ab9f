package e2e

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/internal/netns"
)

// TestRepairGroupSparesCleanLinks sends a file to two receivers that lose nothing, four that lose 5 %, and one that comes when
// most of it is sent, over a bridge with IGMP snooping, and counts what comes to the two: with --repair-group that is the
// file once, without it all that is repaired as well.
func TestRepairGroupSparesCleanLinks(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("sends a file twice and repairs most of it")
	}
	carried := map[bool]float64{} // by a clean link, in files
	for _, with := range []bool{false, true} {
		t.Run(fmt.Sprintf("repair-group=%v", with), func(t *testing.T) { carried[with] = carriedByCleanLink(t, with) })
	}
	// Headers of Ethernet, IP, UDP and NORM are 5 % of the file, commands less than one.
	if carried[true] > 1.08 || carried[false] < 1.5 {
		t.Errorf("a clean link carries %.2f files with a repair group, and %.2f without", carried[true], carried[false])
	}
}

func carriedByCleanLink(t *testing.T, repairGroup bool) float64 {
	const clean, lossy = 2, 4
	x := newTransfer(t, "239.77.1.10:6003", clean+lossy+1)
	x.net.Snoop(2*time.Minute, false)
	x.net.Host(0).Query() // from then on the bridge filters
	hosts := x.net.Hosts()[1:]
	for i, h := range hosts {
		if h.Lose(netns.Loss{}); i >= clean {
			h.Lose(netns.Loss{Share: 0.05})
		}
	}
	x.flags = []string{"--linger", "1m"} // until the sender says goodbye
	var flags []string
	if repairGroup {
		flags = []string{"--repair-group", netip.AddrPortFrom(x.group.Addr().Next(), 6004).String()}
		x.flags = append(x.flags, flags...)
	}
	x.receive(hosts[:clean+lossy]...)
	sent := func() float64 { return float64(hosts[0].Received()+hosts[1].Received()) / clean / imageSize }
	before := sent()
	sender := x.send(append(flags, "--linger", "3s")...)
	sender.await("most sent", func(e event) bool {
		sent, _ := e["bytes"].(float64)
		return e.kind() == "progress" && sent > 0.7*imageSize
	})
	x.receive(hosts[clean+lossy:]...) // which gets what it missed by repair
	for h, p := range x.receivers {
		if status, e := p.exit(), p.awaitEvent("complete"); status != 0 || e["sha256"] != x.sum {
			t.Errorf("%v: status %d, SHA-256 %v, want %s", h.IPv4(), status, e["sha256"], x.sum)
		}
	}
	if status := sender.exit(); status != 0 {
		t.Errorf("the sender ended with status %d", status)
	}
	st, _ := sender.awaitEvent("stats")["sender"].(map[string]any)
	elsewhere, _ := st["elsewhere"].(map[string]any)
	if got := elsewhere["datagrams"].(float64); repairGroup != (got > 0) {
		t.Errorf("%v datagrams to the repair group", got)
	}
	total := sent() - before
	t.Logf("a clean link carried %.2f times the file, of %.2f sent; of %v repairs %v went to the repair group",
		total, st["bytes"].(float64)/imageSize, st["repairs"], elsewhere["datagrams"])
	return total
}
