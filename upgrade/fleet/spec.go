package fleet

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/upgrade"
)

// A Spec says what a campaign is to be. It has a JSON form, in which durations are nanoseconds; fields are only ever added.
type Spec struct {
	Name    string          `json:"name"` // for people: 1 to 64 of A-Z a-z 0-9 . _ + -
	Release manifest.Digest `json:"release"`

	Targets    Targets    `json:"targets"`
	Schedule   Schedule   `json:"schedule,omitzero"`
	Policy     Policy     `json:"policy,omitzero"`
	Activation Activation `json:"activation,omitzero"`
	Transport  Transport  `json:"transport,omitzero"`
}

// Targets selects the devices of a campaign: those that match all that is given. Which they are is frozen at the start. A
// device that is marked as duplicate, or whose key nobody approved, is never one.
type Targets struct {
	Sites   []string `json:"sites,omitempty"`   // any of these
	Tags    []string `json:"tags,omitempty"`    // any of these
	Devices []string `json:"devices,omitempty"` // any of these; one that is not known is an error
	All     bool     `json:"all,omitempty"`     // all of the release's product: required if nothing else is given
}

// A Schedule says when a campaign that was started is announced: when what is given has come, and Wait has not ended
// before.
type Schedule struct {
	At     time.Time     `json:"at,omitzero"`      // not before
	Joined int           `json:"joined,omitempty"` // when so many of its devices wait at the rendezvous
	Wait   time.Duration `json:"wait,omitempty"`   // but not longer than so long after At. If zero: without end
}

// A Policy says when COMMIT is given. All shares are of the frozen list.
type Policy struct {
	Quorum       int           `json:"quorum,omitempty"`        // percentage that has to be READY. If zero, 100
	SiteQuorum   int           `json:"site_quorum,omitempty"`   // percentage at each site. If zero, it is not asked
	Must         []string      `json:"must,omitempty"`          // devices that have to be READY whatever the quorum says
	ReadyTimeout time.Duration `json:"ready_timeout,omitempty"` // votes end so long after the announcement. If zero, 1 h
	Commit       string        `json:"commit,omitempty"`        // upgrade.CommitAsk or CommitAuto. If empty, CommitAsk
	MaxFailures  int           `json:"max_failures,omitempty"`  // so many failed activations put the brake on. If zero, none do
	StageHold    time.Duration `json:"stage_hold,omitempty"`    // how long past the end of votes an undecided stage is kept. If zero, 7 days
}

// Activation says when devices may activate.
type Activation struct {
	NotBefore time.Time     `json:"not_before,omitzero"`
	Window    time.Duration `json:"window,omitempty"` // none later than so long after NotBefore. If zero: no end but the release's
	Spread    time.Duration `json:"spread,omitempty"` // over which they spread. If zero: what the release asks for
}

// A Transport says how the images are sent. What is zero is the server's default.
type Transport struct {
	Group       netip.AddrPort `json:"group,omitzero"`         // if zero, one of the server's groups that no campaign uses
	Interface   string         `json:"interface,omitempty"`    // name or address
	Source      netip.Addr     `json:"source,omitzero"`        // for source-specific multicast
	TTL         int            `json:"ttl,omitempty"`          // negative: 0
	Rate        float64        `json:"rate,omitempty"`         // bits per second at most, of what the server has to give
	SegmentSize int            `json:"segment_size,omitempty"` // bytes
	FEC         fec.Params     `json:"fec,omitzero"`           // without SegmentSize
	AutoParity  int            `json:"auto_parity,omitempty"`  // parity symbols behind each block unasked
	GRTT        time.Duration  `json:"grtt,omitempty"`         // first estimate
	GroupSize   int            `json:"group_size,omitempty"`   // if zero, the number of targets
}

// ErrSpec is wrapped by errors about a Spec; their text names the field and what it should be.
var ErrSpec = errors.New("fleet: the campaign cannot be as it is written")

// Check returns what is wrong with the Spec as it stands, all of it.
func (s Spec) Check() error {
	var errs []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("%w: "+format, append([]any{ErrSpec}, args...)...))
		}
	}
	want(manifest.ValidName(s.Name), "name %.70q: want 1 to 64 of A-Z a-z 0-9 . _ + -, a letter or digit first", s.Name)
	want(s.Release != manifest.Digest{}, "release: want the digest of one that was uploaded")
	t := s.Targets
	want(t.All || len(t.Sites)+len(t.Tags)+len(t.Devices) > 0, "targets: want sites, tags or devices, or all")
	for field, names := range map[string][]string{"targets.sites": t.Sites, "targets.tags": t.Tags, "targets.devices": t.Devices, "policy.must": s.Policy.Must} {
		for _, name := range names {
			want(manifest.ValidName(name), "%s: %.70q is not a name", field, name)
		}
	}
	c := s.Schedule
	want(c.Joined >= 0, "schedule.joined %d: want a number of devices", c.Joined)
	want(c.Wait >= 0, "schedule.wait %v: cannot be negative", c.Wait)
	want(c.Wait == 0 || c.Joined > 0, "schedule.wait: it is for schedule.joined")
	p := s.Policy
	want(p.Quorum >= 0 && p.Quorum <= 100, "policy.quorum %d: want a percentage", p.Quorum)
	want(p.SiteQuorum >= 0 && p.SiteQuorum <= 100, "policy.site_quorum %d: want a percentage", p.SiteQuorum)
	want(p.ReadyTimeout == 0 || p.ReadyTimeout >= time.Second, "policy.ready_timeout %v: want a second or more", p.ReadyTimeout)
	want(p.Commit == "" || p.Commit == upgrade.CommitAsk || p.Commit == upgrade.CommitAuto, "policy.commit %.70q: want %s or %s", p.Commit, upgrade.CommitAsk, upgrade.CommitAuto)
	want(p.MaxFailures >= 0, "policy.max_failures %d: cannot be negative", p.MaxFailures)
	want(p.StageHold >= 0 && p.StageHold%time.Second == 0, "policy.stage_hold %v: want whole seconds", p.StageHold)
	a := s.Activation
	want(a.Window >= 0 && a.Spread >= 0 && (a.Window == 0 || a.Spread <= a.Window), "activation: spread %v in a window of %v", a.Spread, a.Window)
	tr := s.Transport
	want(!tr.Group.IsValid() || tr.Group.Port() != 0, "transport.group %s: it has no port", tr.Group)
	want(tr.Rate >= 0 && tr.SegmentSize >= 0 && tr.AutoParity >= 0 && tr.GRTT >= 0 && tr.GroupSize >= 0,
		"transport: rate, segment_size, auto_parity, grtt and group_size cannot be negative")
	return errors.Join(errs...)
}
