package doctor

// checks are all checks, in the order in which a person wants to read them.
var checks = []struct {
	name  string
	judge func(*observed) Finding
}{
	{"group", checkGroup},
	{"interface", checkInterface},
	{"join", checkJoin},
	{"socket buffer", checkBuffer},
	{"reception", checkReception},
	{"firewall", checkFirewall},
	{"rp_filter", checkFilter},
	{"ttl", checkTTL},
	{"mtu", checkMTU},
	{"rate", checkRate},
	{"feedback to the group", checkGroupFeedback},
	{"feedback by unicast", checkUnicastFeedback},
	{"source-specific join", checkSource},
	{"querier", checkQuerier},
	{"reception goes on", checkAlive},
	{"other nodes", checkNodes},
}

// judge makes the report.
func (o *observed) judge() *Report {
	r := &Report{Heard: o.responder.IsValid() || o.norm > 0 || len(o.elsewhere) > 0}
	for _, c := range checks {
		f := c.judge(o)
		f.Check = c.name
		r.Findings = append(r.Findings, f)
	}
	return r
}

// nobody is the finding of a check that needs the other side, and to hear it.
func nobody(o *observed) Finding {
	if o.responder.IsValid() {
		return Finding{Verdict: Unknown, Seen: "what the sender sends to the group is not heard here", Remedy: "see reception"}
	}
	return Finding{Verdict: Unknown, Seen: "no doctor was heard at the sender", Remedy: "run normsend doctor there, with the same --group"}
}
