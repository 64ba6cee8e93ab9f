package upgrade

import (
	"bytes"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
)

// An announcement is what devices are told beside the decision.
type announcement struct {
	session   []byte    // the signed session description
	start     time.Time // of sending
	published bool      // with what is below
	decision  []byte
	brake     []byte
}

// announce publishes the campaign once its list of targets is closed, and what is decided as soon as it is.
func (c *Campaign) announce(now time.Time) error {
	answer, err := c.coordinator.Answer(now, c.frozen.Campaign, 0)
	if err != nil {
		return err
	}
	plan, _ := c.coordinator.Plan()
	switch decided := len(answer.Signed) > 0; {
	case c.announced != nil:
	case len(plan.Targets) < max(plan.Expect, 1):
		return nil // more devices are expected
	case decided && c.state.Serial == 0:
		return nil // nobody was ever told of the campaign
	case !now.Before(c.frozen.expires()):
		return nil // devices that have to do with it know it already
	default:
		if err := c.issue(now, plan); err != nil || c.announced == nil {
			return err
		}
	}
	a := c.announced
	if a.published && bytes.Equal(a.decision, answer.Signed) && bytes.Equal(a.brake, answer.Brake) {
		return nil
	}
	a.published, a.decision, a.brake = true, answer.Signed, answer.Brake
	n := discovery.Notice{Manifest: c.release.signed, Session: c.announced.session, Brake: answer.Brake}
	if len(answer.Signed) > 0 {
		n.Decisions = [][]byte{answer.Signed}
	}
	c.publish(n)
	return nil
}

// issue signs a session description with a serial that was never used before.
func (c *Campaign) issue(now time.Time, plan commit.Plan) error {
	next := c.state.issue
	next.Serial++
	if next.Start.IsZero() {
		next.Start = now.UTC().Add(c.lead() + time.Second - 1).Truncate(time.Second)
	}
	if !next.Start.Before(c.frozen.Deadline) {
		return nil // too late to begin: the deadline ends it
	}
	if err := c.state.save(next); err != nil {
		return err
	}
	s := c.frozen.session(next, plan, c.release.manifest, now)
	signed, err := s.Sign(c.cfg.Key)
	if err != nil {
		return err
	}
	c.announced = &announcement{session: signed, start: next.Start}
	c.announceSAP(now, s)
	c.emit(now, Event{Kind: EventCampaign, State: CampaignAnnounced, Counts: c.counts(), Total: c.release.manifest.Size(),
		Version: c.release.manifest.Version, Group: s.Group.String(), Server: c.frozen.URL})
	return nil
}

// A SignedClock tells devices the time, signed anew once a second. Its methods may be called concurrently.
type SignedClock struct {
	key    *manifest.PrivateKey
	mu     sync.Mutex // guards all below
	at     time.Time
	signed []byte
}

// NewSignedClock returns a clock that signs with the server key.
func NewSignedClock(key *manifest.PrivateKey) *SignedClock { return &SignedClock{key: key} }

// Now returns the signed time, nil if it cannot be signed.
func (c *SignedClock) Now() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now().Truncate(time.Second); !now.Equal(c.at) {
		signed, err := commit.Timestamp{Time: now}.Sign(c.key)
		if err != nil {
			return nil // devices wait for the next
		}
		c.at, c.signed = now, signed
	}
	return c.signed
}
