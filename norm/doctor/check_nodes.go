package doctor

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// checkNodes judges who else is on the port.
func checkNodes(o *observed) Finding {
	for _, id := range slices.Sorted(maps.Keys(o.nodes)) {
		if at := o.nodes[id]; len(at) > 1 {
			return Finding{Verdict: Fault, Seen: fmt.Sprintf("node id %d is used at %s", id, join(sorted(at))), Remedy: "give each its own by --node-id"}
		}
	}
	if len(o.strangers) > 0 {
		return Finding{Verdict: Warning, Seen: fmt.Sprintf("datagrams that are not NORM come from %s", join(sorted(o.strangers))), Remedy: "take another group or port"}
	}
	return Finding{Verdict: OK, Seen: fmt.Sprintf("%d NORM nodes, and nobody else on the port", len(o.nodes))}
}

// sorted returns the addresses in order, the first eight.
func sorted[V any](m map[netip.Addr]V) []netip.Addr {
	list := slices.SortedFunc(maps.Keys(m), netip.Addr.Compare)
	return list[:min(len(list), 8)]
}
