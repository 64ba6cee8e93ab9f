package normtest

import "slices"

// A Rule loses packets on purpose: those that Match, at the hosts it names, by their number there.
type Rule struct {
	Match func(p *Packet) bool // nil: every packet
	At    []*Host              // where; empty: at every host
	Skip  int                  // so many matching packets pass first, at each host
	Count int                  // so many are lost then, at each host; zero: all

	seen map[*Host]int
}

// Drop adds a rule. It holds for packets that arrive from now on.
func (n *Net) Drop(r *Rule) {
	r.seen = make(map[*Host]int)
	n.rules = append(n.rules, r)
}

// Allow removes a rule, or with nil all of them.
func (n *Net) Allow(r *Rule) {
	n.rules = slices.DeleteFunc(n.rules, func(s *Rule) bool { return r == nil || r == s })
}

// ruledOut reports whether a rule loses p on its way to h.
func (n *Net) ruledOut(p *Packet, h *Host) (lost bool) {
	for _, r := range n.rules {
		if len(r.At) > 0 && !slices.Contains(r.At, h) || r.Match != nil && !r.Match(p) {
			continue
		}
		i := r.seen[h]
		r.seen[h]++
		lost = lost || i >= r.Skip && (r.Count == 0 || i < r.Skip+r.Count)
	}
	return lost
}
