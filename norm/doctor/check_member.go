package doctor

import (
	"fmt"
	"strings"
	"time"
)

// checkSource judges a source-specific join on this host.
func checkSource(o *observed) Finding {
	switch {
	case o.igmp == "V1" || o.igmp == "V2":
		// A host keeps to the version of the oldest querier it hears (RFC 9776, Section 7.2.1); before 3, reports have no source.
		return Finding{Verdict: Warning, Seen: fmt.Sprintf("this host speaks IGMP%s, since an older querier asked: the network hears of no source", strings.ToLower(o.igmp)),
			Remedy: "let the querier of this network use IGMPv3, or use any-source multicast"}
	case o.config.Source.IsValid() && o.groupHeard > 0:
		return Finding{Verdict: OK, Seen: fmt.Sprintf("(%v, %v) is heard", o.config.Source, o.config.Group.Addr())}
	case !o.ssmDone:
		return Finding{Verdict: Unknown, Seen: "no sender is heard whose address could be joined", Remedy: "see reception"}
	case o.ssmErr != nil:
		return Finding{Verdict: Warning, Seen: "the system does not take it: " + o.ssmErr.Error(), Remedy: "use any-source multicast here"}
	case !o.ssm:
		return Finding{Verdict: Warning, Seen: fmt.Sprintf("(%v, %v) is joined and not heard", o.responder.Addr(), o.config.Group.Addr()), Remedy: "use any-source multicast here"}
	}
	return Finding{Verdict: OK, Seen: fmt.Sprintf("(%v, %v) is heard; that the network routes by source needs --source", o.responder.Addr(), o.config.Group.Addr())}
}

// queryInterval is the default of RFC 9776, Section 8.2, and RFC 9777, and in between 10 s go by for the answers.
const queryInterval = 135 * time.Second

// checkQuerier judges whether somebody keeps memberships alive in switches.
func checkQuerier(o *observed) Finding {
	const remedy = "turn on an IGMP/MLD querier on a router or switch of this network (docs/network.md)"
	if q := o.querier(); q != nil {
		return Finding{Verdict: OK, Seen: fmt.Sprintf("%s query from %v", q.protocol, q.from)}
	}
	if o.tapErr != nil {
		return Finding{Verdict: Unknown, Seen: "hearing queries: " + o.tapErr.Error(), Remedy: "run normrecv doctor as root on Linux"}
	}
	seen := fmt.Sprintf("no query in %.0f s", o.listened.Seconds())
	if o.leftOne {
		seen += ", nor when a group was left"
	}
	switch {
	case o.died:
		return Finding{Verdict: Fault, Seen: seen + ", and reception ended: a switch forgets members that no querier asks for", Remedy: remedy}
	case o.listened > queryInterval && o.aliveFor > 0:
		return Finding{Verdict: Warning, Seen: seen + "; reception goes on, so no switch filters here now", Remedy: remedy}
	}
	return Finding{Verdict: Warning, Seen: seen + "; queries come every 125 s or so", Remedy: remedy + "; --long tells whether it is needed"}
}

// checkAlive judges the long run.
func checkAlive(o *observed) Finding {
	switch {
	case o.aliveFor == 0 && !o.died:
		return Finding{Verdict: Unknown, Seen: "not watched", Remedy: "--long watches longer than a switch without a querier remembers members"}
	case o.died:
		return Finding{Verdict: Fault, Seen: fmt.Sprintf("reception ended %.0f s after the join", o.aliveFor.Seconds()), Remedy: "see querier; or the sender has gone"}
	}
	return Finding{Verdict: OK, Seen: fmt.Sprintf("for %.0f s", o.aliveFor.Seconds())}
}
