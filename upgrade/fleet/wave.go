package fleet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// checkWaves returns what is wrong with the waves of a campaign, whoever its devices are.
func checkWaves(waves []store.Wave, want func(ok bool, format string, args ...any)) {
	percentage := func(n int) bool { return n >= 0 && n <= 100 }
	for i, w := range waves {
		n := i + 1
		want(percentage(w.Quorum), "wave %d: quorum %d: want a percentage", n, w.Quorum)
		want(percentage(w.SiteQuorum), "wave %d: site_quorum %d: want a percentage", n, w.SiteQuorum)
		want(percentage(w.Percent), "wave %d: percent %d: want a percentage", n, w.Percent)
		want(percentage(w.Success), "wave %d: success %d: want a percentage", n, w.Success)
		want(percentage(w.Errors), "wave %d: errors %d: want a percentage", n, w.Errors)
		want(w.ReadyTimeout == 0 || w.ReadyTimeout >= minReadyTimeout, "wave %d: ready_timeout %v: want a second or more", n, w.ReadyTimeout)
		want(w.OutcomeTimeout >= 0 && w.Soak >= 0, "wave %d: outcome_timeout %v and soak %v cannot be negative", n, w.OutcomeTimeout, w.Soak)
	}
	if len(waves) == 1 {
		want(isEmpty(waves[0].Targets) && waves[0].Percent == 0, "policy.waves: the only wave is for all targets")
	}
}

func isEmpty(sel store.Selector) bool {
	return len(sel.Products)+len(sel.Sites)+len(sel.Tags)+len(sel.Devices) == 0
}

// assign gives each target its wave. A wave takes those that its selector means and no earlier wave has; with a percentage,
// so many of all that its selector means, the first in the order of ranks. So a campaign's waves are the same whenever they
// are worked out, another campaign has other devices go first, and one of 1 % is never empty.
func (s *Server) assign(ctx context.Context, id commit.CampaignID, policy store.Policy, targets []commit.Target) error {
	taken := make([]bool, len(targets))
	at := make(map[string]int, len(targets))
	for i, t := range targets {
		at[t.Device] = i
	}
	left := len(targets)
	for wave, w := range policy.Waves {
		var free []int // of those that the selector means
		means := 0
		meet := func(i int) {
			means++
			if !taken[i] {
				free = append(free, i)
			}
		}
		if isEmpty(w.Targets) {
			for i := range targets {
				meet(i)
			}
		} else {
			some, err := s.store.SelectTargets(ctx, w.Targets, policy.AllowUnsigned)
			if err != nil {
				return err
			}
			for _, t := range some {
				if i, ok := at[t.Device]; ok {
					meet(i)
				}
			}
		}
		if w.Percent > 0 {
			free = first(free, (means*w.Percent+99)/100, func(i int) rankOf { return rankIn(id, targets[i].Device) })
		}
		if len(free) == 0 {
			return fmt.Errorf("%w: wave %d of %d", ErrNoTargets, wave+1, len(policy.Waves))
		}
		for _, i := range free {
			taken[i] = true
			targets[i].Wave = uint32(wave)
		}
		left -= len(free)
		for _, device := range w.Must {
			if i, ok := at[device]; !ok || !taken[i] || targets[i].Wave != uint32(wave) {
				return fmt.Errorf("%w: wave %d: %s must be ready, and is not in it", ErrSettings, wave+1, device)
			}
		}
	}
	if left > 0 {
		i := slices.Index(taken, false)
		return fmt.Errorf("%w: %d of %d targets are in no wave, such as %s; let the last wave be for the rest", ErrSettings, left, len(targets), targets[i].Device)
	}
	return nil
}

// A rankOf is a device's place among those of a campaign that may go first.
type rankOf [sha256.Size]byte

// rankIn is a hash under the campaign's id, so that nobody chooses a device's place by its name.
func rankIn(id commit.CampaignID, device string) rankOf {
	return sha256.Sum256(fmt.Appendf(nil, "multicast-upgrade wave 1\n%s\n%s\n", id, device))
}

// first returns the n items of the lowest rank.
func first(items []int, n int, rank func(int) rankOf) []int {
	type ranked struct {
		rank rankOf
		item int
	}
	all := make([]ranked, len(items))
	for i, item := range items {
		all[i] = ranked{rank(item), item}
	}
	slices.SortFunc(all, func(a, b ranked) int { return bytes.Compare(a.rank[:], b.rank[:]) })
	items = items[:0]
	for _, r := range all[:min(n, len(all))] {
		items = append(items, r.item)
	}
	return items
}

// A WaveState is where a wave is.
type WaveState = upgrade.WaveState

// wavesOf returns the waves as package upgrade runs them.
func wavesOf(policy store.Policy) (all []upgrade.Wave) {
	for _, w := range policy.Waves {
		mode := upgrade.CommitAuto
		if w.Ask {
			mode = upgrade.CommitAsk
		}
		all = append(all, upgrade.Wave{Quorum: w.Quorum, SiteQuorum: w.SiteQuorum, Must: w.Must, ReadyTimeout: w.ReadyTimeout, Commit: mode,
			Success: w.Success, Errors: w.Errors, OutcomeTimeout: w.OutcomeTimeout, Soak: w.Soak})
	}
	return all
}

// A WavePreview is what a wave of a draft would have for targets.
type WavePreview struct {
	Targets int            `json:"targets"`
	Sites   map[string]int `json:"sites"` // of them; "" is none
}

// previewWaves counts the targets of each wave; the error is what Start would say.
func (s *Server) previewWaves(ctx context.Context, id commit.CampaignID, policy store.Policy, targets []commit.Target) ([]WavePreview, error) {
	if err := s.assign(ctx, id, policy, targets); err != nil {
		return nil, err
	}
	waves := make([]WavePreview, len(policy.Waves))
	for i := range waves {
		waves[i].Sites = map[string]int{}
	}
	for _, t := range targets {
		waves[t.Wave].Targets++
		waves[t.Wave].Sites[t.Site]++
	}
	return waves, nil
}
