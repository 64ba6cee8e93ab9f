package doctor

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/multicast-upgrade/tool/norm/udp"
)

// checkReception judges whether the group reaches this host and the socket.
func checkReception(o *observed) Finding {
	switch {
	case o.groupHeard > 0:
		return Finding{Verdict: OK, Seen: fmt.Sprintf("%d messages of the doctor at %v by the group", o.groupHeard, o.responder.Addr())}
	case o.norm > 0:
		return Finding{Verdict: OK, Seen: fmt.Sprintf("%d NORM messages", o.norm)}
	case len(o.elsewhere) > 0:
		var names []string
		for index := range o.elsewhere {
			if ifi, err := net.InterfaceByIndex(index); err == nil {
				names = append(names, ifi.Name)
			}
		}
		slices.Sort(names)
		return Finding{Verdict: Fault, Seen: fmt.Sprintf("the group is heard on %s, not on %s", strings.Join(names, ", "), o.ifi.Name),
			Remedy: "give --interface " + names[0]}
	case o.groupTapped > 0:
		return Finding{Verdict: Fault, Seen: fmt.Sprintf("%d datagrams to the group reach %s, none the socket", o.groupTapped, o.ifi.Name),
			Remedy: "see firewall and rp_filter"}
	case o.laddered && o.ladder > 0:
		return Finding{Verdict: Fault, Seen: "the group reaches us with a greater TTL only", Remedy: "see ttl"}
	case o.answered:
		return Finding{Verdict: Fault, Seen: fmt.Sprintf("%v answers by unicast, but nothing comes by the group, with no TTL up to %d", o.responder.Addr(), ladderTop),
			Remedy: "multicast routing (PIM) or a switch's snooping in between, or the sender's --interface: see docs/network.md"}
	case o.config.Expect && !o.responder.IsValid():
		return Finding{Verdict: Fault, Seen: "nothing comes by the group, and the sender does not answer by unicast",
			Remedy: "multicast routing (PIM) or a switch's snooping in between, and a route and UDP to the sender: see docs/network.md"}
	}
	return nobody(o)
}

// checkFirewall judges what the wire carried against what the socket was given.
func checkFirewall(o *observed) Finding {
	switch {
	case o.groupHeard > 0 || o.norm > 0:
		return Finding{Verdict: OK, Seen: "what comes by the group reaches the socket"}
	case o.tapErr != nil:
		return Finding{Verdict: Unknown, Seen: "seeing what the firewall drops: " + o.tapErr.Error(), Remedy: "run normrecv doctor as root on Linux"}
	case o.groupTapped == 0:
		return Finding{Verdict: Unknown, Seen: fmt.Sprintf("nothing for the group arrives on %s that could be dropped", o.ifi.Name), Remedy: "see reception"}
	case drops(o):
		return Finding{Verdict: Unknown, Seen: "rp_filter explains what the socket lacks", Remedy: "see rp_filter"}
	}
	return Finding{Verdict: Fault, Seen: fmt.Sprintf("%d datagrams arrive on %s and are dropped on this host", o.groupTapped, o.ifi.Name),
		Remedy: fmt.Sprintf("let UDP port %d in: nft add rule inet filter input udp dport %[1]d accept", o.config.Group.Port())}
}

// drops reports whether rp_filter drops what the sender sends. Strictly (1), the route back must leave by the interface it
// came in by; loosely (2), there must be one (RFC 3704).
func drops(o *observed) bool {
	switch {
	case o.filter == "1" && o.backErr == nil:
		return o.backIfi.Index != o.ifi.Index && o.backIfi.Flags&net.FlagLoopback == 0
	case o.filter == "1" || o.filter == "2":
		return o.backErr != nil && !errors.Is(o.backErr, errNoSender)
	}
	return false
}

// checkFilter judges Linux's rp_filter against the route to the sender.
func checkFilter(o *observed) Finding {
	switch {
	case o.filter == "" && !o.config.Group.Addr().Is4():
		return Finding{Verdict: OK, Seen: "there is none for IPv6"}
	case o.filter == "":
		return Finding{Verdict: Unknown, Seen: "not known on this system", Remedy: "compare the route to the sender with the interface that multicast comes in by"}
	case o.filter == "0":
		return Finding{Verdict: OK, Seen: "off on " + o.ifi.Name}
	case errors.Is(o.backErr, errNoSender):
		return Finding{Verdict: Unknown, Seen: fmt.Sprintf("rp_filter=%s on %s, and the sender's address is not known", o.filter, o.ifi.Name),
			Remedy: "give it by --sender, or run normsend doctor there"}
	case drops(o):
		way := "there is no route"
		if o.backErr == nil {
			way = "the route is by " + o.backIfi.Name
		}
		return Finding{Verdict: Fault, Seen: fmt.Sprintf("rp_filter=%s on %s, and to the sender %s", o.filter, o.ifi.Name, way),
			Remedy: fmt.Sprintf("sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.%s.rp_filter=0, or route to the sender by %[1]s", o.ifi.Name)}
	}
	return Finding{Verdict: OK, Seen: fmt.Sprintf("rp_filter=%s on %s, and the route to the sender passes it", o.filter, o.ifi.Name)}
}

// checkTTL judges the sender's TTL against the distance.
func checkTTL(o *observed) Finding {
	switch {
	case o.groupHeard > 0 && o.hops >= 0:
		return Finding{Verdict: OK, Seen: fmt.Sprintf("the sender's TTL is %d, and there are %d routers in between", o.senderTTL, o.hops)}
	case o.groupHeard > 0:
		return Finding{Verdict: OK, Seen: fmt.Sprintf("the sender's TTL of %d is enough; the distance is not told on this system", o.senderTTL)}
	case o.ladder > 0 && o.ladder > o.senderTTL:
		return Finding{Verdict: Fault, Seen: fmt.Sprintf("the sender's TTL is %d, and the least that reaches us is %d", o.senderTTL, o.ladder),
			Remedy: fmt.Sprintf("send with --ttl %d", o.ladder)}
	case o.laddered:
		return Finding{Verdict: Unknown, Seen: fmt.Sprintf("no TTL up to %d reaches us: that is not it", ladderTop), Remedy: "see reception"}
	case o.groupTapped > 0:
		return Finding{Verdict: OK, Seen: fmt.Sprintf("the sender's TTL of %d is enough to reach %s", o.senderTTL, o.ifi.Name)}
	}
	return nobody(o)
}

// checkGroupFeedback judges whether NACKs to the group, which is where NORM sends them, arrive.
func checkGroupFeedback(o *observed) Finding {
	switch {
	case udp.IsSourceSpecific(o.config.Group.Addr()):
		return Finding{Verdict: OK, Seen: "not used in source-specific groups"}
	case o.config.UnicastFeedback:
		return Finding{Verdict: OK, Seen: "not used: requests go to the sender itself"}
	case !o.responder.IsValid():
		return nobody(o)
	case o.heardTTL == 0:
		return Finding{Verdict: Fault, Seen: fmt.Sprintf("the sender (%v) hears nothing of what we send to the group", o.responder.Addr()),
			Remedy: fmt.Sprintf("let UDP port %d in at the sender and route the group from here to there, or receive with --unicast-feedback", o.config.Group.Port())}
	case o.heardTTL > o.config.TTL:
		return Finding{Verdict: Fault, Seen: fmt.Sprintf("the sender hears us with TTL %d, not with our %d", o.heardTTL, o.config.TTL),
			Remedy: "receive with --unicast-feedback"}
	}
	return Finding{Verdict: OK, Seen: fmt.Sprintf("the sender hears us with TTL %d", o.heardTTL)}
}

// checkUnicastFeedback judges the way that source-specific groups need.
func checkUnicastFeedback(o *observed) Finding {
	switch {
	case !o.responder.IsValid():
		return nobody(o)
	case o.heardUnicast:
		return Finding{Verdict: OK, Seen: fmt.Sprintf("the sender hears us at %v", o.responder)}
	case o.heardTTL == 0 && !o.answered || o.config.UnicastFeedback || udp.IsSourceSpecific(o.config.Group.Addr()):
		return Finding{Verdict: Fault, Seen: fmt.Sprintf("the sender does not hear us at %v", o.responder), Remedy: "let UDP in at the sender, and route it from here"}
	}
	return Finding{Verdict: Warning, Seen: fmt.Sprintf("the sender does not hear us at %v; that is for --unicast-feedback and source-specific groups only", o.responder),
		Remedy: "let UDP in at the sender, should you use those"}
}
