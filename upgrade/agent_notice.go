package upgrade

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
)

// A campaign is one that the agent follows.
type campaign struct {
	round   commit.Round
	session *manifest.Session // nil: it was read from disk, and no key that counts now has signed it
	release *manifest.Manifest
	signed  discovery.Notice // its two documents as they came
	err     error            // why nothing is known but the round
	keyring *keyring         // nil: no image is sealed, or nothing opens them

	stop     context.CancelFunc // ends the reception; nil: there is none
	whole    bool               // all leaves are verified
	offered  bool               // and the commit knows
	turned   bool               // the server, or storage, turned the device away
	decision []byte             // the signed decision, if one was heard
	bytes    int64              // verified so far
	traffic  traffic            // of its session
	node     uint32             // the NormNodeId that the server gave; 0: none
	braked   uint64             // sequence of the latest HOLD or RESUME
	paused   atomic.Bool        // that was a pause: the server sends nothing
}

// loadCampaign reads the campaign of a round from its stage. Whether its documents have expired does not matter any more, nor
// whether keys that have signed them have been replaced: the log vouches for the release by its digest.
func loadCampaign(fsys disk.FS, round commit.Round, trust *manifest.Root) (*campaign, error) {
	release, session, err := readStage(fsys, stageDir(round.Manifest))
	if err != nil {
		return nil, err
	}
	c := &campaign{round: round, signed: discovery.Notice{Manifest: release, Session: session}}
	if c.release, _, err = manifest.OpenUnverified(release); err != nil {
		return nil, err
	}
	c.session, _ = manifest.OpenSession(session, trust.Server(session), nil, time.Time{})
	if c.round.Manifest != c.release.Digest() {
		return nil, fmt.Errorf("the stage is that of manifest %s", c.release.Digest())
	}
	return c, nil
}

// follow hears what the server announces until ctx ends.
func (a *Agent) follow(ctx context.Context) {
	down := false
	a.client.Follow(ctx, func(n *discovery.Notice) {
		down = false
		a.followRoots(ctx, n.Root)
		taken := make(chan struct{})
		a.do(func(now time.Time) {
			defer close(taken)
			a.notice(now, n)
			a.noteBusy()
		})
		select {
		case <-taken: // before it is known whether the server is to be waited at
		case <-ctx.Done():
		}
	}, func(err error) {
		a.greet.again() // it may come back as another one
		if errors.Is(err, discovery.ErrServerCertificate) {
			a.catchUp(ctx) // perhaps it has another key by now
		}
		if !down { // once each time it goes away
			e := Event{Kind: EventTrouble, Server: a.cfg.Server, Detail: err.Error()}
			if refusal, ok := errors.AsType[*discovery.Refusal](err); ok && refusal.Status == http.StatusForbidden {
				e.Reason, e.Detail = commit.Reason(refusal.Reason), refusal.Detail
			}
			a.tell.tell(e)
		}
		down = true
	})
}

// notice takes an announcement.
func (a *Agent) notice(now time.Time, n *discovery.Notice) {
	if len(n.Timestamp) > 0 {
		if err := a.p.Timestamp(now, n.Timestamp); err != nil {
			a.log.Warn("the server's timestamp does not count", "error", err)
		}
	}
	if len(n.Brake) > 0 {
		a.brake(now, n.Brake)
	}
	for _, d := range n.Decisions {
		a.decide(now, d)
	}
	if len(n.Examination) > 0 {
		a.examine(now, n.Examination)
		return
	}
	var known *manifest.Session
	if a.following != nil {
		known = a.following.session
	}
	s, err := manifest.OpenSession(n.Session, a.trust().Server(n.Session), known, a.utc(now))
	switch {
	case errors.Is(err, manifest.ErrRollback):
		return // replayed, or delivered late
	case err != nil:
		a.turnDown(n, err)
		return
	}
	wave, err := a.waveIn(s, n.Seat)
	if err != nil {
		a.turnDown(n, err)
		return
	}
	a.knowSession(s)
	round := commit.Round{Campaign: s.Campaign, Wave: wave, Manifest: s.Manifest}
	a.missDecision(now, round, n.Decisions)
	if held, ok := a.p.Holds(); ok && held == round {
		a.reissued(a.held, s, n)
		return
	}
	if a.following != nil && a.following.round == round {
		a.reissued(a.following, s, n)
		return
	}
	if last := a.p.Status().Last; last.Round == round && a.p.Finished(round) && a.outcome == commit.StateNone {
		a.conclude(round, last.State, last.Reason) // it ended before this start
	}
	if a.p.Finished(round) || a.abandoned(round) || a.aborted(round, n.Decisions) {
		return
	}
	for _, c := range []*campaign{a.following, a.held} {
		if c != nil && c.session != nil && (c.stop != nil || c == a.held) && s.Issued.Before(c.session.Issued) {
			return // of two campaigns the one announced last
		}
	}
	a.accept(now, n, s, round)
}

// turnDown tells, once, that an announcement is none by the trusted server.
func (a *Agent) turnDown(n *discovery.Notice, err error) {
	if digest := sha256.Sum256(n.Session); digest != a.refused {
		a.refused = digest
		a.tell.tell(Event{Kind: EventRefused, State: commit.StateRefused, Reason: refusalReason(err, 0, commit.Floors{}), Detail: err.Error()})
	}
}

// accept checks the release and begins to receive it, or refuses it: before a byte of it is received, and for good.
func (a *Agent) accept(now time.Time, n *discovery.Notice, s *manifest.Session, round commit.Round) {
	if err := a.frozen(now); err != nil {
		a.tellFrozen(round, err)
		return
	}
	var keys *keyring
	m, err := a.openRelease(now, n.Manifest, s)
	if err == nil {
		keys, err = a.newKeyring(s, m, round)
	}
	if err != nil {
		epoch := uint64(0)
		if m != nil {
			epoch = m.Epoch
		}
		a.log.Warn("the release is refused", "campaign", s.Campaign, "error", err)
		a.refuse(now, round, s.Expires, refusalReason(err, epoch, a.p.Floors()))
		return
	}
	a.stopReceiving()
	a.stopExamining()
	a.following = &campaign{round: round, session: s, release: m, node: n.Node, keyring: keys,
		signed: discovery.Notice{Manifest: n.Manifest, Session: n.Session}}
	a.outcome = commit.StateNone
	if len(n.Brake) > 0 {
		a.following.brake(n.Brake, a.trust().Server(n.Brake))
	}
	a.startReceiving(now, a.following)
}

// openRelease returns the release if this device may install it. If only the device's own state speaks against it, the
// release is returned with the error.
func (a *Agent) openRelease(now time.Time, signed []byte, s *manifest.Session) (*manifest.Manifest, error) {
	m, err := manifest.OpenSigned(signed, a.trust().Release)
	if err != nil {
		return nil, err
	}
	floors := a.p.Floors()
	err = m.Check(manifest.Device{
		Product: a.cfg.Product, Hardware: a.cfg.Hardware, Now: a.utc(now),
		Floor: manifest.Floor{Sequence: floors.Sequence, Epoch: floors.Epoch}, Extensions: a.cfg.extensions(),
	})
	if err == nil {
		err = s.Describes(m)
	}
	if err == nil && a.cfg.Slots != nil {
		_, err = a.cfg.Slots.imageOf(m)
	}
	return m, err
}

// refusalReason returns what a device that refuses a document tells the server.
func refusalReason(err error, epoch uint64, floors commit.Floors) commit.Reason {
	switch {
	case errors.Is(err, manifest.ErrNoKey):
		return commit.ReasonNoKey
	case errors.Is(err, manifest.ErrSignature), errors.Is(err, manifest.ErrKeyRole):
		return commit.ReasonSignature
	case errors.Is(err, manifest.ErrProduct):
		return commit.ReasonProduct
	case errors.Is(err, manifest.ErrHardware):
		return commit.ReasonHardware
	case errors.Is(err, manifest.ErrRollback) && epoch < floors.Epoch:
		return commit.ReasonEpoch
	case errors.Is(err, manifest.ErrRollback):
		return commit.ReasonSequence
	case errors.Is(err, manifest.ErrExpired):
		return commit.ReasonExpired
	}
	return commit.ReasonFormat
}

// refuse votes NO.
func (a *Agent) refuse(now time.Time, round commit.Round, ends time.Time, reason commit.Reason) {
	if err := a.p.Refuse(now, round, ends, reason); err != nil && !errors.Is(err, commit.ErrFinished) {
		a.log.Error("the refusal cannot be logged", "round", round, "error", err)
	}
}

// reissued takes another description of a campaign that is followed already.
func (a *Agent) reissued(c *campaign, s *manifest.Session, n *discovery.Notice) {
	if c == nil || c.session == nil || s.Serial <= c.session.Serial {
		return
	}
	moved := s.Group != c.session.Group || s.Source != c.session.Source || s.NodeID != c.session.NodeID ||
		s.FEC != c.session.FEC || !sameObjects(s.Objects, c.session.Objects)
	c.session, c.signed.Session = s, n.Session
	a.outbox.hurry()
	switch {
	case c == a.following && c.stop == nil && c.turned && !c.whole:
		a.startReceiving(time.Now(), c) // perhaps it is on the list now
	case moved && c.stop != nil:
		c.stop()
		a.startReceiving(time.Now(), c)
	default:
		if err := disk.WriteFile(a.fs, stageDir(c.release.Digest())+"/session", n.Session, 0o600); err != nil {
			a.log.Warn("the new session description cannot be stored", "error", err)
		}
	}
}

func sameObjects(a, b manifest.Objects) bool {
	return a.Hashes == b.Hashes && a.Decision == b.Decision && slices.Equal(a.Images, b.Images)
}

// utc is what time it surely is.
func (a *Agent) utc(now time.Time) time.Time {
	clock := a.p.Clock()
	return clock.UTC(now)
}
