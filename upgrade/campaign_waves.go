package upgrade

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
)

// A Wave is a part of the targets, those with its number in [commit.Target.Wave], that has a decision of its own. All waves
// share one transmission, and stage at once. A wave begins, which means that it can be decided, when the one before it has
// succeeded; see [commit.Policy].
type Wave struct {
	Quorum         int           // percentage of the wave's targets that has to be READY. If zero, 100
	SiteQuorum     int           // percentage that has to be READY at each site. If zero, it is not asked
	Must           []string      // devices that have to be READY whatever the quorum says
	ReadyTimeout   time.Duration // votes end so long after the wave has begun. If zero, 1 h
	Commit         string        // CommitAsk or CommitAuto. If empty, CommitAsk
	Success        int           // percentage that has to run the new image before the next wave begins. If zero, Quorum
	Errors         int           // percentage that may have failed; with more the campaign is paused. If zero, what Success leaves
	OutcomeTimeout time.Duration // how long the results may take before the campaign is paused. If zero, 15 min
	Soak           time.Duration // how long the next wave waits after success
}

// check returns what is wrong with the wave.
func (w Wave) check() error {
	switch {
	case w.Commit != "" && w.Commit != CommitAsk && w.Commit != CommitAuto:
		return fmt.Errorf("--commit %q: want %s or %s", w.Commit, CommitAsk, CommitAuto)
	case w.ReadyTimeout < 0 || w.ReadyTimeout > 0 && w.ReadyTimeout < time.Second:
		return fmt.Errorf("--ready-timeout %v: want a second or more", w.ReadyTimeout)
	case w.Quorum < 0 || w.Quorum > 100 || w.SiteQuorum < 0 || w.SiteQuorum > 100:
		return fmt.Errorf("--quorum %d, --site-quorum %d: want a percentage", w.Quorum, w.SiteQuorum)
	case w.Success < 0 || w.Success > 100 || w.Errors < 0 || w.Errors > 100:
		return fmt.Errorf("success %d, errors %d: want a percentage", w.Success, w.Errors)
	case w.OutcomeTimeout < 0 || w.Soak < 0:
		return fmt.Errorf("outcome timeout %v and soak %v cannot be negative", w.OutcomeTimeout, w.Soak)
	}
	return nil
}

func (w Wave) resolve() Wave {
	w.Quorum = cmp.Or(w.Quorum, 100)
	w.ReadyTimeout = cmp.Or(w.ReadyTimeout, time.Hour)
	w.Commit = cmp.Or(w.Commit, CommitAsk)
	w.OutcomeTimeout = cmp.Or(w.OutcomeTimeout, 15*time.Minute)
	return w
}

// single returns what the settings say of the only wave, if there is just one.
func (s settings) single() Wave {
	return Wave{Quorum: s.Quorum, SiteQuorum: s.SiteQuorum, Must: s.Must, ReadyTimeout: s.ReadyTimeout, Commit: s.Commit}
}

// waves returns the waves of settings that are resolved.
func (s settings) waves() []Wave {
	if len(s.Waves) == 0 {
		return []Wave{s.single().resolve()}
	}
	return s.Waves
}

// resolveWaves fills in the defaults of each wave, or of the only one.
func (s settings) resolveWaves() (settings, error) {
	if len(s.Waves) == 0 {
		if err := s.single().check(); err != nil {
			return s, err
		}
		w := s.single().resolve()
		s.Quorum, s.ReadyTimeout, s.Commit = w.Quorum, w.ReadyTimeout, w.Commit
		return s, nil
	}
	if s.Quorum != 0 || s.SiteQuorum != 0 || len(s.Must) > 0 || s.ReadyTimeout != 0 || s.Commit != "" {
		return s, errors.New("quorum, must-have devices, ready timeout and commit are those of each wave, if there are waves")
	}
	s.Waves = slices.Clone(s.Waves)
	for i, w := range s.Waves {
		if err := w.check(); err != nil {
			return s, fmt.Errorf("wave %d: %w", i+1, err)
		}
		s.Waves[i] = w.resolve()
	}
	return s, nil
}

// policies returns what the coordinator goes by; all have when and how devices activate from common.
func (f frozen) policies(common commit.Policy) []commit.Policy {
	var all []commit.Policy
	for i, w := range f.Settings.waves() {
		p := common
		p.Quorum, p.SiteQuorum, p.Must, p.Ask = w.Quorum, w.SiteQuorum, w.Must, w.Commit == CommitAsk
		p.Success, p.Errors, p.OutcomeTimeout, p.Soak = w.Success, w.Errors, w.OutcomeTimeout, w.Soak
		if i == 0 {
			p.Deadline = f.Deadline
		} else {
			p.ReadyTimeout = w.ReadyTimeout
		}
		all = append(all, p)
	}
	return all
}

// decidedBy returns when the last wave is decided, if each takes all the time it may have, pauses until now included. In
// whole seconds.
func (c *Campaign) decidedBy(now time.Time) time.Time {
	plan, _ := c.coordinator.Plan()
	t := plan.Waves[0].Deadline
	for i, w := range plan.Waves[1:] {
		before := plan.Waves[i]
		if before.NotBefore.After(t) {
			t = before.NotBefore
		}
		t = t.Add(before.Spread + before.OutcomeTimeout + before.Soak + w.ReadyTimeout)
	}
	return t.Add(c.coordinator.Stood(now)).Truncate(time.Second)
}

// expires returns when devices no longer take the campaign for a new one.
func (c *Campaign) expires(now time.Time) time.Time {
	return c.decidedBy(now).Add(c.frozen.Settings.Hold)
}

// place takes a place in a rendezvous for each wave, so that the decision of one wakes up no device of another. The devices
// of several waves are told by the server key in which one they are.
func (c *Campaign) place(handler *discovery.Handler, seats map[string]discovery.Seat) (withdraw func()) {
	plan, _ := c.coordinator.Plan()
	var postings []*discovery.Posting
	for wave, part := range SeatsByWave(c.cfg.Key, plan.Campaign, len(plan.Waves), slices.Values(plan.Targets), seats) {
		p := handler.Post(part)
		postings = append(postings, p)
		c.publish = append(c.publish, func(n discovery.Notice) {
			p.Publish(n)
			if shared := c.cfg.Shared; shared != nil && shared.Published != nil {
				shared.Published(uint32(wave), n)
			}
		})
	}
	return func() {
		for _, p := range postings {
			p.Withdraw()
		}
	}
}

// SeatsByWave returns the seats of the targets in each wave. Where there are several, the server key tells devices theirs.
func SeatsByWave(key *manifest.PrivateKey, id commit.CampaignID, waves int, targets iter.Seq[commit.Target], seats map[string]discovery.Seat) []map[string]discovery.Seat {
	parts := make([]map[string]discovery.Seat, waves)
	for i := range parts {
		parts[i] = map[string]discovery.Seat{}
	}
	for t := range targets {
		seat := seats[t.Device]
		if uint64(t.Wave) >= uint64(waves) {
			continue
		}
		if waves > 1 {
			seat.Signed = func() []byte {
				signed, err := commit.Seat{Campaign: id, Device: t.Device, Wave: t.Wave}.Sign(key)
				if err != nil {
					return nil // as without: the device waits for the next notice
				}
				return signed
			}
		}
		parts[t.Wave][t.Device] = seat
	}
	return parts
}

// verdictOf returns how the campaign is decided: not at all before every wave is, and then by COMMIT if one is committed. The
// reason is that of the first ABORT.
func verdictOf(waves []commit.WaveStatus) (verdict commit.Verdict, reason commit.Reason) {
	verdict = commit.Abort
	for _, w := range waves {
		switch {
		case w.Verdict == commit.Undecided:
			return commit.Undecided, commit.ReasonNone
		case w.Verdict == commit.Commit:
			verdict = commit.Commit
		case reason == commit.ReasonNone:
			reason = w.Reason
		}
	}
	if len(waves) == 0 {
		verdict = commit.Undecided
	}
	return verdict, reason
}

// A WaveState is where a wave is.
type WaveState struct {
	Step      commit.WaveStep `json:"step"`
	Until     time.Time       `json:"until,omitzero"` // when votes, results or the soak end; it stands still in a pause
	Verdict   string          `json:"verdict"`
	Reason    commit.Reason   `json:"reason,omitempty"` // why ABORT
	Asking    bool            `json:"asking,omitempty"` // the policy is met and a person is asked
	Targets   int             `json:"targets"`
	Ready     int             `json:"ready"`
	Refused   int             `json:"refused,omitempty"`
	Committed int             `json:"committed,omitempty"`
	Failed    int             `json:"failed,omitempty"`

	MissingApprovals int                  `json:"missing_approvals,omitempty"` // so many more approvers have to agree, at least
	Approved         []manifest.PublicKey `json:"approved,omitempty"`          // those who have
}

// TakeWaves fills in what a coordinator says of the waves, and what that comes to for the whole campaign.
func (s *CampaignStatus) TakeWaves(of commit.Status) {
	verdict, reason := verdictOf(of.Waves)
	s.Verdict, s.Reason, s.Held, s.Paused, s.Brake = verdict.String(), reason, of.Held, of.Paused, of.Brake
	for _, by := range of.Approvers {
		s.Approvers, s.List = append(s.Approvers, Approvers(by)), of.List.String()
	}
	for _, w := range of.Waves {
		s.Waves = append(s.Waves, WaveState{w.Step, w.Until, w.Verdict.String(), w.Reason, w.Asking, w.Targets, w.Ready, w.Refused, w.Committed, w.Failed, w.MissingApprovals, w.Approved})
		s.Targets, s.Ready, s.Refused = s.Targets+w.Targets, s.Ready+w.Ready, s.Refused+w.Refused
		s.Asking = s.Asking || w.Asking
		if !w.Deadline.IsZero() {
			s.Deadline = w.Deadline
		}
	}
}
