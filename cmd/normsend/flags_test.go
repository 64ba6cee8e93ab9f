package main

import (
	"net/netip"
	"testing"

	"github.com/spf13/cobra"

	"github.com/multicast-upgrade/tool/norm"
)

// TestEveryStartIsAnotherInstance: receivers tell by instance_id that a sender lost its state, and what was recorded of one
// session is worth nothing in another (RFC 5740, Sections 4.2.1 and 7).
func TestEveryStartIsAnotherInstance(t *testing.T) {
	const starts = 20
	seen := map[norm.InstanceID]bool{}
	for range starts {
		flags := transportFlags{dialect: "rfc"}
		flags.register(&cobra.Command{})
		c, err := flags.config(netip.MustParseAddrPort("239.1.2.3:6003"))
		if err != nil {
			t.Fatal(err)
		}
		seen[c.Instance] = true
	}
	if len(seen) < starts-2 { // 16 bits at random: three alike are as rare as can be. N-4.2.1-16 N-7-01
		t.Errorf("%d instances in %d starts", len(seen), starts)
	}
}
