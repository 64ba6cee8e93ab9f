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
	if len(seen) < starts-2 { // 16 bits at random: three alike are as rare as can be. N-4.2.1-16 N-7-01 A-7.2.2-01
		t.Errorf("%d instances in %d starts", len(seen), starts)
	}
}

// TestCongestionControlIsTheDefault: "This congestion control scheme is REQUIRED for operation within the general Internet"
// (RFC 5740, Section 5.5.2). A rate that is fixed takes a flag.
func TestCongestionControlIsTheDefault(t *testing.T) {
	for _, test := range []struct {
		args []string
		auto bool
	}{
		{nil, true}, // N-5.5.2-01 N-2.1-03
		{[]string{"--rate", "auto", "--max-rate", "20M"}, true},
		{[]string{"--rate", "10M"}, false}, // N-5.1-05 N-5.5.1-07
	} {
		flags := transportFlags{dialect: "rfc"}
		command := &cobra.Command{}
		flags.register(command)
		if err := command.ParseFlags(test.args); err != nil {
			t.Fatal(err)
		}
		c, err := flags.config(netip.MustParseAddrPort("239.1.2.3:6003"))
		if err != nil || (c.Control != nil) != test.auto || (c.Rate == 0) != test.auto {
			t.Errorf("%v: rate %v, control %+v, %v", test.args, c.Rate, c.Control, err)
		}
	}
}

// TestParityAuto reads --parity-auto as norm.SenderConfig has it.
func TestParityAuto(t *testing.T) {
	for arg, want := range map[string]int{"": 0, "adaptive": 0, "none": -1, "0": -1, "7": 7} {
		flags := transportFlags{dialect: "rfc"}
		command := &cobra.Command{}
		flags.register(command)
		if arg != "" {
			if err := command.ParseFlags([]string{"--parity-auto", arg}); err != nil {
				t.Fatal(err)
			}
		}
		c, err := flags.config(netip.MustParseAddrPort("239.1.2.3:6003"))
		if err != nil || c.AutoParity != want {
			t.Errorf("%q: %d, %v; want %d", arg, c.AutoParity, err, want)
		}
		again := autoParity(9)
		if err := again.Set(flags.autoParity.String()); err != nil || again != flags.autoParity {
			t.Errorf("%q: %q reads as %d, %v", arg, &flags.autoParity, again, err)
		}
	}
	for _, arg := range []string{"-1", "some", "70000"} {
		if err := new(autoParity).Set(arg); err == nil {
			t.Errorf("%q: no error", arg)
		}
	}
}
