//go:build linux

package interop

import (
	"flag"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/trace"
	"github.com/multicast-upgrade/tool/norm/udp"
)

var recordAgain = flag.Bool("record", false, "refresh testdata/recordings from the library at hand")

// TestRecord refreshes the recordings.
func TestRecord(t *testing.T) {
	if !*recordAgain {
		t.Skip("refreshes testdata/recordings with -record")
	}
	for _, rec := range recordings {
		t.Run(rec.name, func(t *testing.T) { rec.record(t) })
	}
	if err := os.WriteFile(sumsFile, sums(t), 0o644); err != nil {
		t.Fatal(err)
	}
}

// record has two nodes of NRL's implementation exchange the objects, the third, the sixth … content packet being lost.
func (rec recording) record(t *testing.T) {
	x := transfer{code: rec.code, objects: rec.objects, lose: everyThird}
	x.tune = func(n *node) {
		switch rec.name {
		case "acknowledged":
			n.acks = []norm.NodeID{10}
		case "unicast-feedback":
			n.unicastFeedback = true
		case "congestion-control":
			n.control = true
		}
	}
	file, err := os.Create(rec.path())
	if err != nil {
		t.Fatal(err)
	}
	to := trace.NewRecorder(file, trace.Limits{})
	x.look = func(t *testing.T) (func(packet, bool), func()) {
		return func(p packet, lost bool) {
				if !lost {
					to.Received(time.Now(), []udp.Message{{From: recordedAddr(p.from), To: recordedTo(p), B: p.b}})
				}
			}, func() {
				if err := to.Close(); err != nil {
					t.Error(err)
				}
			}
	}
	x.run(t, nrl, nrl)
}

// recordedAddr is the address of a node in a recording: that of RFC 5737 for documentation.
func recordedAddr(node int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(node + 1)}), recordedGroup.Port())
}

func recordedTo(p packet) netip.AddrPort {
	if p.unicast {
		return recordedAddr(p.to)
	}
	return recordedGroup
}
