package upgrade

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/norm"
)

const (
	leastTrial = 10 * time.Second
	mostTrial  = 2 * time.Minute
)

// assumedRate is what a session is taken to send with at the least if its description does not say, in bits per second.
const assumedRate = 1e6

// evidence returns what the signed description lets us expect of who speaks for the sender: the ids of its objects, and
// content that makes verified leaves. Trial has room for two of them.
func (r *reception) evidence() *norm.EvidencePolicy {
	rate := cmp.Or(float64(r.s.MinRate), assumedRate)
	var leaf int64
	for _, im := range r.stage.images {
		leaf = max(leaf, im.entry.LeafSize)
	}
	trial := min(2*8*float64(leaf)/rate, mostTrial.Seconds())
	p := &norm.EvidencePolicy{Trial: max(time.Duration(trial*float64(time.Second)), leastTrial)}
	o := r.s.Objects
	p.FirstObject = norm.TransportID(min(o.Hashes, slices.Min(o.Images), o.Decision))
	if last := o.Decision + uint16(max(r.s.Waves, 1)-1); last >= o.Decision {
		p.LastObject = norm.TransportID(max(o.Hashes, slices.Max(o.Images), last))
	} else {
		p.FirstObject, p.LastObject = 0, 1<<16-1 // the decisions go round
	}
	return p
}

// vouch tells the protocol that its sender is the real one if leaves of an image turned out to be right.
func (r *reception) vouch(ctx context.Context, image int, events []leafEvent) {
	if slices.ContainsFunc(events, func(e leafEvent) bool { return e.Verified }) {
		r.net.vouch(ctx, image)
	}
}

func (m *multicast) vouch(ctx context.Context, object int) {
	m.Vouch(ctx, m.handles[object]) // fails only if the session is gone
}
