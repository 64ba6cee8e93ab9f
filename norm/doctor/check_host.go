package doctor

import (
	"fmt"
	"net"
	"strings"
)

// checkInterface judges the interface, and whether the routing table would have picked it.
func checkInterface(o *observed) Finding {
	name := o.ifi.Name
	switch {
	case o.ifi.Flags&net.FlagUp == 0:
		return Finding{Verdict: Fault, Seen: name + " is down", Remedy: "ip link set " + name + " up"}
	case o.ifi.Flags&net.FlagRunning == 0:
		return Finding{Verdict: Fault, Seen: name + " is up, but has no carrier", Remedy: "look at the cable and the port of the switch"}
	case o.ifi.Flags&net.FlagMulticast == 0 && o.ifi.Flags&net.FlagLoopback == 0:
		return Finding{Verdict: Fault, Seen: name + " does not do multicast", Remedy: "ip link set " + name + " multicast on, or take another --interface"}
	case len(o.addrs) == 0:
		return Finding{Verdict: Fault, Seen: name + " has no address of the group's IP version", Remedy: "give it an address: membership reports and feedback need one"}
	}
	seen := fmt.Sprintf("%s is up, with %s", name, join(o.addrs))
	switch {
	case o.config.Interface == "":
		return Finding{Verdict: OK, Seen: seen + "; the routing table picks it"}
	case o.pickedErr != nil || o.picked == nil:
		return Finding{Verdict: OK, Seen: seen + "; the routing table has no way to the group, so always give --interface"}
	case o.picked.Index != o.ifi.Index && o.ifi.Flags&net.FlagLoopback == 0:
		return Finding{Verdict: Warning, Seen: fmt.Sprintf("%s; the routing table would pick %s", seen, o.picked.Name),
			Remedy: "give --interface to every command on this host"}
	}
	return Finding{Verdict: OK, Seen: seen}
}

// join joins the texts of values by commas.
func join[T fmt.Stringer](list []T) string {
	var b strings.Builder
	for i, v := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(v.String())
	}
	return b.String()
}

// checkJoin judges the join that NORM does.
func checkJoin(o *observed) Finding {
	what := "any source"
	if o.config.Source.IsValid() {
		what = "source " + o.config.Source.String()
	}
	if o.joinErr != nil {
		return Finding{Verdict: Fault, Seen: fmt.Sprintf("joining (%s): %v", what, o.joinErr),
			Remedy: "free the port, or on Linux raise net.ipv4.igmp_max_memberships if there are too many groups"}
	}
	return Finding{Verdict: OK, Seen: fmt.Sprintf("the system takes the join (%s)", what)}
}

// stall is for how long a busy receiver may not read, in seconds.
const stall = 0.1

// checkBuffer judges the socket's queue against what the rate fills during a stall.
func checkBuffer(o *observed) Finding {
	if o.buffer == 0 {
		return Finding{Verdict: Unknown, Seen: "no socket could be opened", Remedy: "see join"}
	}
	need := int(o.config.Rate / 8 * stall)
	seen := fmt.Sprintf("%d kB granted; %s fill %d kB in %.0f ms", o.buffer/1000, mbits(o.config.Rate/1000), need/1000, stall*1000)
	if o.buffer < need {
		return Finding{Verdict: Warning, Seen: seen, Remedy: fmt.Sprintf("sysctl -w net.core.rmem_max=%d, or send slower", need)}
	}
	return Finding{Verdict: OK, Seen: seen}
}

// mbits says a rate of kilobits per second.
func mbits(kbits float64) string { return fmt.Sprintf("%.3g Mbit/s", kbits/1000) }
