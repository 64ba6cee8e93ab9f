package e2e

import (
	"testing"
)

// TestFeedback sends a file to hosts that answer the sender itself, in each of the ways there are, or not at all.
func TestFeedback(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, group string
		source      bool     // --source with the sender's address
		flags       []string // of receivers
		sender      []string
		silent      bool
	}{
		{"IPv4 source-specific", "232.77.1.9:6003", true, nil, nil, false},
		{"IPv6 source-specific", "[ff35::8077:19]:6003", true, nil, nil, false},
		{"any source", "239.77.1.9:6003", false, []string{"--unicast-feedback"}, nil, false},
		{"one way", "239.77.1.10:6003", false, []string{"--silent"}, []string{"--fec", "rs8:64,64", "--parity-auto", "64", "--repeat-info"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := newTransfer(t, test.group, 2)
			x.flags = test.flags
			if host := x.net.Host(0); test.source && x.group.Addr().Is4() {
				x.flags = []string{"--source", host.IPv4().String()}
			} else if test.source {
				x.flags = []string{"--source", host.IPv6().String()}
			}
			x.receive(x.net.Hosts()[1:]...)
			sender := x.send(test.sender...)
			x.complete()
			if status := sender.exit(); status != 0 {
				t.Errorf("the sender ended with status %d", status)
			}
			st, _ := sender.awaitEvent("stats")["sender"].(map[string]any)
			if heard, _ := st["nacks_heard"].(float64); (heard == 0) != test.silent {
				t.Errorf("the sender heard %v NACKs", heard)
			}
			for _, p := range x.receivers {
				st, _ := p.awaitEvent("stats")["receiver"].(map[string]any)
				if heard, _ := st["nacks_heard"].(float64); heard != 0 {
					t.Errorf("a receiver heard %v NACKs of others", heard)
				}
			}
			x.describe(sender)
		})
	}
}
