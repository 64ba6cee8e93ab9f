package commit

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
)

// A Target is a device that a campaign is for.
type Target struct {
	Device string
	Site   string // empty: none
	Wave   uint32
	Key    manifest.PublicKey // of role device; zero where unsigned votes are allowed and the device has none
}

// A Policy says when the devices of a wave may activate, and what has to come of it before the next wave begins. All
// shares are of the frozen target list of the wave.
type Policy struct {
	// Quorum is the percentage of the wave's targets that have to be READY, rounded up. If zero, all.
	Quorum int
	// SiteQuorum is the percentage that has to be READY at each site, rounded up, devices without a site aside.
	// If zero, it is not asked.
	SiteQuorum int
	// Must names devices that have to be READY whatever the quorum says.
	Must []string

	// Deadline is when votes of the first wave end: if it is still open then it is aborted. It is required there. Those of
	// each other wave end ReadyTimeout after it has begun, which is required instead.
	Deadline     time.Time
	ReadyTimeout time.Duration
	// Ask is whether a person has to approve before COMMIT, by [Coordinator.Approve].
	Ask bool

	// When devices may activate: not before NotBefore (if zero: the time of the decision, if anything below is set),
	// each at its own instant within Spread after that, and none later than Window after it (if zero: no end).
	NotBefore time.Time
	Window    time.Duration
	Spread    time.Duration

	// Success is the percentage that has to be COMMITTED for the next wave to begin, rounded up. If zero, Quorum.
	Success int
	// Errors is the percentage that may have FAILED or ROLLED_BACK: when more have, the campaign stops, and those that
	// have not begun to activate hold. If zero, it stops when Success cannot be reached any more.
	Errors int
	// OutcomeTimeout is how long after the last device may begin to activate Success has to be reached; then the campaign
	// stops. If zero, it waits without end.
	OutcomeTimeout time.Duration
	// Soak is how long after Success is reached the next wave begins.
	Soak time.Duration
}

// A Plan is what a campaign is. It is frozen before the first announcement.
type Plan struct {
	Campaign CampaignID
	Manifest Digest
	Roots    []Digest // of the images, in manifest order: what a READY has to name

	// Targets is the list of devices, or else Expect: the first so many devices to announce themselves, which close
	// the list. Those are all in wave 0 and without a site.
	Targets []Target
	Expect  int

	// Waves has the policy of each wave; at least one.
	Waves []Policy

	// MaxFailures puts the brake on when so many devices have reported FAILED or ROLLED_BACK, and again at each
	// failure after that. If zero, it never does.
	MaxFailures int
	// Approvers have to agree to each COMMIT, by [Coordinator.Agree]: enough of each list.
	Approvers []manifest.Approvers
	// AllowUnsigned lets targets without a key vote unsigned. A target with a key has to sign anyway.
	AllowUnsigned bool
}

const (
	// MaxTargets bounds the target list.
	MaxTargets = 1 << 19
	// MaxWaves bounds the waves of a campaign.
	MaxWaves = manifest.MaxWaves

	maxMust = 1000
)

func (p Plan) check() error {
	var errs []error
	complain := func(format string, args ...any) {
		if len(errs) < 10 {
			errs = append(errs, fmt.Errorf("commit: plan: "+format, args...))
		}
	}
	if p.Campaign == (CampaignID{}) {
		complain("no campaign id")
	}
	if len(p.Roots) == 0 || len(p.Roots) > MaxRoots {
		complain("%d image roots, want 1 to %d", len(p.Roots), MaxRoots)
	}
	if (len(p.Targets) > 0) == (p.Expect > 0) || len(p.Targets) > MaxTargets || p.Expect > MaxTargets || p.Expect < 0 {
		complain("want a list of targets or the number of devices to expect, up to %d", MaxTargets)
	}
	if len(p.Waves) == 0 || len(p.Waves) > MaxWaves || p.Expect > 0 && len(p.Waves) > 1 {
		complain("%d waves, want 1 to %d, and just 1 with a number of devices to expect", len(p.Waves), MaxWaves)
	}
	for _, by := range p.Approvers {
		if by.Threshold < 1 || by.Threshold > len(by.Keys) {
			complain("%d of %d approvers have to agree", by.Threshold, len(by.Keys))
		}
	}
	if p.MaxFailures < 0 {
		complain("max failures %d", p.MaxFailures)
	}
	inWave := make([]int, len(p.Waves))
	byName := make(map[string]Target, len(p.Targets))
	byKey := make(map[manifest.PublicKey]string, len(p.Targets))
	for _, t := range p.Targets {
		if !manifest.ValidName(t.Device) || t.Site != "" && !manifest.ValidName(t.Site) {
			complain("device %.70q at site %.70q: not a name", t.Device, t.Site)
		}
		if _, twice := byName[t.Device]; twice {
			complain("device %s is listed twice", t.Device)
		}
		byName[t.Device] = t
		if !hasWave(p.Waves, t.Wave) {
			complain("device %s is in wave %d of %d", t.Device, t.Wave, len(p.Waves))
		} else {
			inWave[t.Wave]++
		}
		switch other, shared := byKey[t.Key]; {
		case t.Key.IsZero() && !p.AllowUnsigned:
			complain("device %s has no key, and unsigned votes are not allowed", t.Device)
		case t.Key.IsZero():
		case t.Key.Role() != manifest.RoleDevice:
			complain("device %s: key has role %s", t.Device, t.Key.Role())
		case shared:
			complain("devices %s and %s have the same key", other, t.Device)
		default:
			byKey[t.Key] = t.Device
		}
	}
	must := 0
	for i, w := range p.Waves {
		if p.Expect == 0 && inWave[i] == 0 {
			complain("wave %d has no targets", i)
		}
		if w.Quorum < 0 || w.Quorum > 100 || w.SiteQuorum < 0 || w.SiteQuorum > 100 {
			complain("wave %d: quorum %d %%, per site %d %%", i, w.Quorum, w.SiteQuorum)
		}
		if (i == 0) == w.Deadline.IsZero() || (i == 0) != (w.ReadyTimeout == 0) || w.ReadyTimeout < 0 {
			complain("wave %d: deadline %v, ready timeout %v: the first wave has the one, and all others the other", i, w.Deadline, w.ReadyTimeout)
		}
		if w.Success < 0 || w.Success > 100 || w.Errors < 0 || w.Errors > 100 || w.OutcomeTimeout < 0 || w.Soak < 0 {
			complain("wave %d: success %d %%, errors %d %%, outcome timeout %v, soak %v", i, w.Success, w.Errors, w.OutcomeTimeout, w.Soak)
		}
		if w.Window < 0 || w.Spread < 0 || w.Spread > maxSpread || w.Window > 0 && w.Spread > w.Window {
			complain("wave %d: spread %v in a window of %v", i, w.Spread, w.Window)
		}
		if must += len(w.Must); must > maxMust {
			complain("more than %d devices must be ready", maxMust)
			break
		}
		for _, device := range w.Must {
			if t, ok := byName[device]; !ok || t.Wave != uint32(i) {
				complain("wave %d: %s must be ready but is no target of it", i, device)
			}
		}
	}
	return errors.Join(errs...)
}

// quorum returns how many of n have to be READY.
func quorum(percent, n int) int { return (percent*n + 99) / 100 }

func (p Policy) resolve() Policy {
	if p.Quorum == 0 {
		p.Quorum = 100
	}
	p.Success = cmp.Or(p.Success, p.Quorum)
	return p
}

// TargetsDigest returns the digest of a target list that a decision names: SHA-256 of the list in canonical form, by
// device. The order of targets does not matter.
func TargetsDigest(targets []Target) Digest {
	sorted := slices.SortedFunc(slices.Values(targets), func(a, b Target) int { return strings.Compare(a.Device, b.Device) })
	wire := make([]targetRecord, len(sorted))
	for i, t := range sorted {
		wire[i] = t.record()
	}
	h := sha256.New()
	h.Write([]byte("multicast-upgrade commit targets 1\n"))
	for _, t := range wire {
		h.Write(encode(t)) // each is self-delimiting
	}
	return Digest(h.Sum(nil))
}
