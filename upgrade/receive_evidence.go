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
	// The ids are circular, and those of a campaign close together.
	o := r.s.Objects
	segments := o.Hashes
	if r.segments != nil {
		segments = r.s.Segments.Object
	}
	var below, above int16
	for _, id := range append([]uint16{o.Decision, o.Decision + uint16(max(r.s.Waves, 1)-1), segments}, o.Images...) {
		below, above = min(below, int16(id-o.Hashes)), max(above, int16(id-o.Hashes))
	}
	return &norm.EvidencePolicy{
		Trial:       max(time.Duration(trial*float64(time.Second)), leastTrial),
		FirstObject: norm.TransportID(o.Hashes + uint16(below)), LastObject: norm.TransportID(o.Hashes + uint16(above)),
	}
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
