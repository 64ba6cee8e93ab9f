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
	session []byte        // the signed session description
	start   time.Time     // of sending
	stood   time.Duration // pauses that it knows of
	told    []told        // to the devices of each wave
}

// A told is what has been published to the devices of a wave.
type told struct {
	published       bool
	decision, brake []byte
}

// announce publishes the campaign once its list of targets is closed, and what is decided as soon as it is. After a pause
// it is announced anew, as all ends later.
func (c *Campaign) announce(now time.Time) error {
	answers, paused := c.coordinator.Answers(), c.coordinator.Paused()
	plan, _ := c.coordinator.Plan()
	switch decided := len(answers) == len(plan.Waves); {
	case c.announced != nil:
		if paused || decided || c.announced.stood == c.coordinator.Stood(now) {
			break
		}
		if err := c.issue(now, plan); err != nil {
			return err
		}
	case paused && c.state.Serial == 0:
		return nil // nobody was told yet, and nobody is before it goes on
	case len(plan.Targets) < max(plan.Expect, 1):
		return nil // more devices are expected
	case decided && c.state.Serial == 0:
		return nil // nobody was ever told of the campaign
	case !now.Before(c.expires(now)):
		return nil // devices that have to do with it know it already
	default:
		if err := c.issue(now, plan); err != nil || c.announced == nil {
			return err
		}
	}
	a, brake := c.announced, c.coordinator.Brake()
	for i := range a.told {
		w := told{published: true, brake: brake}
		n := discovery.Notice{Manifest: c.release.signed, Session: a.session, Brake: brake, Root: c.cfg.Roots.Last()}
		if i < len(answers) {
			w.decision, n.Decisions = answers[i].Signed, [][]byte{answers[i].Signed}
		}
		if was := a.told[i]; was.published && bytes.Equal(was.decision, w.decision) && bytes.Equal(was.brake, w.brake) {
			continue
		}
		a.told[i] = w
		c.publish[i](n)
	}
	return nil
}

// serialsAfterRestore are left out at each start with a state that was restored from a copy: those that were given since that
// was made are forgotten, and devices that have seen them take higher ones only. So do the instance_ids, which are counted by
// the low 16 bits.
const serialsAfterRestore = 1<<32 + 0x9e37

// issue signs a session description with a serial that was never used before.
func (c *Campaign) issue(now time.Time, plan commit.Plan) error {
	next := c.state.issue
	next.Serial++
	if c.cfg.Restored && c.announced == nil {
		next.Serial += serialsAfterRestore
	}
	next.Place = c.frozen.place()
	if next.Start.IsZero() {
		next.Start = now.UTC().Add(c.lead() + time.Second - 1).Truncate(time.Second)
	}
	decided := c.decidedBy(now)
	if !next.Start.Before(decided) {
		return nil // too late to begin: the deadline ends it
	}
	if err := c.state.save(next); err != nil {
		return err
	}
	s := c.frozen.session(next, plan, c.release.manifest, now, decided)
	if c.release.segments != nil {
		s.Segments = manifest.Segments{Object: c.release.firstObject(), Digest: c.release.digest}
	}
	signed, err := s.Sign(c.cfg.Key)
	if err != nil {
		return err
	}
	c.announced = &announcement{session: signed, start: next.Start, stood: c.coordinator.Stood(now), told: make([]told, len(plan.Waves))}
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
