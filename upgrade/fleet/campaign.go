package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// What a Server refuses, beside what the store does; errors wrap these.
var (
	ErrSettings  = errors.New("fleet: the campaign cannot be as it is written")
	ErrNoTargets = errors.New("fleet: no device matches that could be a target")
	ErrImages    = errors.New("fleet: images of the release are missing")
	ErrAnnounced = errors.New("fleet: the campaign runs; abort it")
	ErrPending   = errors.New("fleet: too many devices wait for somebody to approve them")
	ErrOpen      = errors.New("fleet: the device is a target of an open campaign")
)

// A NotLeaderError is returned when another server leads the campaign, or none does at the moment.
type NotLeaderError struct {
	Campaign commit.CampaignID
	Leader   string // its name; empty: none
	Err      error  // why that one could not be asked; nil: it was not
}

func (e *NotLeaderError) Error() string {
	if e.Leader == "" {
		return fmt.Sprintf("fleet: no server leads campaign %s at the moment; try again", e.Campaign)
	}
	text := fmt.Sprintf("fleet: campaign %s is led by server %s", e.Campaign, e.Leader)
	if e.Err != nil {
		text += ", which cannot be asked; try again: " + e.Err.Error()
	}
	return text
}

func (e *NotLeaderError) Unwrap() error { return e.Err }

// Check returns what is wrong with the settings of a campaign, all of it. What depends on devices and the release is found
// by Preview and Start.
func Check(c store.CampaignSettings) error {
	var errs []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("%w: "+format, append([]any{ErrSettings}, args...)...))
		}
	}
	want(len(c.Policy.Waves) > 0 && len(c.Policy.Waves) <= commit.MaxWaves, "policy.waves: %d waves, want 1 to %d", len(c.Policy.Waves), commit.MaxWaves)
	checkWaves(c.Policy.Waves, want)
	want(c.Policy.MaxFailures >= 0, "policy.max_failures %d: cannot be negative", c.Policy.MaxFailures)
	a := c.Activation
	want(a.Window >= 0 && a.Spread >= 0 && (a.Window == 0 || a.Spread <= a.Window), "activation: spread %v in a window of %v", a.Spread, a.Window)
	want(a.Hold >= 0 && a.Hold%time.Second == 0, "activation.hold %v: want whole seconds", a.Hold)
	want(c.Schedule.Joined >= 0 && c.Schedule.Wait >= 0, "schedule: joined %d and wait %v cannot be negative", c.Schedule.Joined, c.Schedule.Wait)
	t := c.Transport
	want(!t.Group.IsValid() || t.Group.Port() != 0, "transport.group %s: it has no port", t.Group)
	if t.RepairGroup.IsValid() {
		err := norm.CheckRepairGroup(t.RepairGroup, t.Group)
		want(err == nil, "transport.repair_group: %v", err)
	}
	want(t.Rate >= 0 && t.Burst >= 0 && t.SegmentSize >= 0 && t.GRTT >= 0 && t.GroupSize >= 0,
		"transport: rate, burst, segment_size, grtt and group_size cannot be negative")
	want(t.Rate == 0 || t.StartRate == 0 && t.MinRate == 0 && t.MaxRate == 0, "transport: start_rate, min_rate and max_rate go without rate, as congestion control sets it")
	want(t.Rate == 0 || !t.ECN, "transport: ecn goes without rate, as a fixed rate does not give way to marks")
	if t.FEC != "" {
		_, err := fec.ParseSpec(t.FEC)
		want(err == nil, "transport.fec %.70q: %v", t.FEC, err)
	}
	want(len(c.Seal.To) <= manifest.MaxWraps, "seal.to: %d groups, limit %d", len(c.Seal.To), manifest.MaxWraps)
	for i, to := range c.Seal.To {
		want(!to.IsZero() && !slices.Contains(c.Seal.To[:i], to), "seal.to: key %s is there twice, or is none", to.ID())
	}
	return errors.Join(errs...)
}

// Create makes a draft with name, release and settings. Its id is random.
func (s *Server) Create(ctx context.Context, name string, release manifest.Digest, settings store.CampaignSettings, actor string) (store.Campaign, error) {
	if err := Check(settings); err != nil {
		return store.Campaign{}, err
	}
	c := store.Campaign{Name: name, Release: release, Settings: settings}
	rand.Read(c.ID[:]) // never fails
	c, err := s.store.AddCampaign(ctx, c, s.by(actor))
	return c, s.told(c.ID, err)
}

// Change replaces name, release and settings of a draft that has this revision. An approval it had is void.
func (s *Server) Change(ctx context.Context, id commit.CampaignID, revision int64, name string, release manifest.Digest, settings store.CampaignSettings, actor string) (store.Campaign, error) {
	if err := Check(settings); err != nil {
		return store.Campaign{}, err
	}
	c, err := s.store.ChangeCampaign(ctx, store.Campaign{ID: id, Revision: revision, Name: name, Release: release, Settings: settings}, s.by(actor))
	return c, s.told(id, err)
}

// Approve is the agreement of a second person, who did not make the draft ([store.ErrSamePerson]), to it as it is at this
// revision.
func (s *Server) Approve(ctx context.Context, id commit.CampaignID, revision int64, actor string) (store.Campaign, error) {
	c, err := s.store.ApproveCampaign(ctx, id, revision, s.by(actor))
	return c, s.told(id, err)
}

// minReadyTimeout is the least time for votes.
const minReadyTimeout = time.Second

// A Preview is what a draft would have for targets if it were started now.
type Preview struct {
	Targets int             `json:"targets"`
	Sites   map[string]int  `json:"sites"`             // of them; "" is none
	Overlap []store.Overlap `json:"overlap,omitempty"` // of them, those that other campaigns have: they keep it from starting
	Waves   []WavePreview   `json:"waves,omitempty"`   // of several; which devices they are is by the id of the campaign
	Problem string          `json:"problem,omitempty"` // why the targets cannot be divided into the waves
	Pending int             `json:"pending,omitempty"` // devices that match and are none, as nobody has approved their keys
}

// Preview returns what settings would select now.
func (s *Server) Preview(ctx context.Context, settings store.CampaignSettings) (Preview, error) {
	targets, err := s.store.SelectTargets(ctx, settings.Targets, settings.Policy.AllowUnsigned)
	if err != nil {
		return Preview{}, err
	}
	p := Preview{Targets: len(targets), Sites: map[string]int{}}
	names := make([]string, len(targets))
	for i, t := range targets {
		names[i] = t.Device
		p.Sites[t.Site]++
	}
	sel := settings.Targets
	if len(sel.Devices) == 0 {
		counts, err := s.store.CountDevices(ctx, store.DeviceFilter{Products: sel.Products, Sites: sel.Sites, Tags: sel.Tags})
		if err != nil {
			return p, err
		}
		p.Pending = counts[store.KeyPending]
	}
	if len(settings.Policy.Waves) > 1 {
		p.Waves, err = s.previewWaves(ctx, commit.CampaignID{}, settings.Policy, targets)
		switch {
		case errors.Is(err, ErrNoTargets), errors.Is(err, ErrSettings):
			p.Problem = err.Error()
		case err != nil:
			return p, err
		}
	}
	p.Overlap, err = s.store.Overlaps(ctx, names)
	return p, err
}

// Start freezes targets and group of a draft, and has it run when its schedule says so. It is refused when a target is
// another campaign's ([*store.OverlapError]), when there is none, or none in a wave ([ErrNoTargets]), when images are missing ([ErrImages]) or the file keys of sealed ones ([ErrFileKeys]),
// when no group is free ([store.ErrNoGroup]), and when nobody has approved it who has to ([store.ErrNotApproved]).
func (s *Server) Start(ctx context.Context, id commit.CampaignID, revision int64, actor string) (store.Campaign, error) {
	c, err := s.store.Campaign(ctx, id)
	if err != nil {
		return c, err
	}
	if err := Check(c.Settings); err != nil {
		return c, err
	}
	release, err := s.store.Release(ctx, c.Release)
	switch {
	case err != nil:
		return c, err
	case len(release.Missing) > 0:
		return c, fmt.Errorf("%w: %q", ErrImages, release.Missing)
	}
	if err := errors.Join(release.Manifest.CheckExpiry(time.Now()), checkSeal(release, c.Settings.Seal), s.checkApprovers(release.Manifest)); err != nil {
		return c, err
	}
	selector := c.Settings.Targets
	if len(selector.Products) == 0 {
		selector.Products = []string{release.Manifest.Product} // others would refuse it
	}
	targets, err := s.store.SelectTargets(ctx, selector, c.Settings.Policy.AllowUnsigned)
	switch {
	case err != nil:
		return c, err
	case len(targets) == 0:
		return c, fmt.Errorf("%w: of product %s", ErrNoTargets, release.Manifest.Product)
	}
	if err := s.assign(ctx, id, c.Settings.Policy, targets); err != nil {
		return c, err
	}
	groups := []netip.AddrPort{c.Settings.Transport.Group}
	if !groups[0].IsValid() {
		groups = s.groups()
	}
	c, err = s.store.StartCampaign(ctx, id, revision, targets, groups, s.by(actor))
	s.Look()
	return c, s.told(id, err)
}

// poolTries is how many groups of a pool are offered to a campaign: all of a small one, of a large one some by chance.
const poolTries = 64

// groups returns what a campaign may be given that names no group.
func (s *Server) groups() []netip.AddrPort {
	groups := slices.Clone(s.cfg.Groups)
	if s.cfg.Pool == nil {
		return groups
	}
	rng := mrand.New(mrand.NewPCG(mrand.Uint64(), mrand.Uint64()))
	offered := map[netip.Addr]bool{}
	for range poolTries {
		group, err := s.cfg.Pool.Pick(rng, func(a netip.Addr) bool { return offered[a] })
		if err != nil {
			break // that were all
		}
		offered[group] = true
		groups = append(groups, netip.AddrPortFrom(group, s.cfg.Port))
	}
	return groups
}

// Discard closes a draft, or a campaign that is scheduled: nobody was told of it. One that runs is to be aborted
// ([ErrAnnounced]).
func (s *Server) Discard(ctx context.Context, id commit.CampaignID, actor string) error {
	c, err := s.store.Campaign(ctx, id)
	switch {
	case err != nil:
		return err
	case c.Phase != store.PhaseDraft && c.Phase != store.PhaseScheduled:
		return fmt.Errorf("%w: %s is %s", ErrAnnounced, id, c.Phase)
	}
	_, err = s.store.EndCampaign(ctx, id, c.Revision, s.by(actor))
	s.Look()
	return s.told(id, err)
}

// Commit is a person's agreement to COMMIT the wave that is open. The error wraps [commit.ErrNotReady] while its policy is
// not met, [commit.ErrNotApproved] while approvers have not signed who have to ([Server.Agree]), [commit.ErrPaused] while the
// campaign is paused, and [commit.ErrDecided] when somebody else was quicker.
func (s *Server) Commit(ctx context.Context, id commit.CampaignID, actor string) error {
	return s.act(ctx, order{Campaign: id, Action: "campaign.commit", Actor: actor})
}

// CommitWave is Commit for one wave, counted from 0, if another may be open by now.
func (s *Server) CommitWave(ctx context.Context, id commit.CampaignID, wave uint32, actor string) error {
	return s.act(ctx, order{Campaign: id, Action: "campaign.commit", Actor: actor, Wave: &wave})
}

// Pause stops all that can be stopped: nothing is sent or decided, deadlines stand still, and devices hold.
func (s *Server) Pause(ctx context.Context, id commit.CampaignID, actor string) error {
	return s.act(ctx, order{Campaign: id, Action: "campaign.pause", Actor: actor})
}

// Abort is a person's decision to ABORT the wave that is open and those behind it. The error wraps [commit.ErrDecided] when it comes too late; see Hold.
func (s *Server) Abort(ctx context.Context, id commit.CampaignID, actor string) error {
	return s.act(ctx, order{Campaign: id, Action: "campaign.abort", Actor: actor})
}

// Hold stops devices that have not begun to activate, and waves that have not begun.
func (s *Server) Hold(ctx context.Context, id commit.CampaignID, actor string) error {
	return s.act(ctx, order{Campaign: id, Action: "campaign.hold", Actor: actor})
}

// Resume lets all go on. Who resumes a campaign that the results of a wave have paused accepts them.
func (s *Server) Resume(ctx context.Context, id commit.CampaignID, actor string) error {
	return s.act(ctx, order{Campaign: id, Action: "campaign.resume", Actor: actor})
}

// deeds are what an order can ask for.
var deeds = map[string]func(*upgrade.Campaign, context.Context) error{
	"campaign.commit": (*upgrade.Campaign).Approve, "campaign.abort": (*upgrade.Campaign).Abort, "campaign.pause": (*upgrade.Campaign).Pause,
	"campaign.hold": (*upgrade.Campaign).Hold, "campaign.resume": (*upgrade.Campaign).Resume,
}

// do does what the order says.
func (o order) do(ctx context.Context, c *upgrade.Campaign) error {
	deed := deeds[o.Action]
	switch {
	case o.Action == actionAgree:
		return c.Agree(ctx, o.Approval)
	case deed == nil:
		return fmt.Errorf("fleet: there is no order %.70q", o.Action)
	case o.Wave != nil && o.Action == "campaign.commit":
		return c.ApproveWave(ctx, *o.Wave)
	}
	return deed(c, ctx)
}

// act has an order done by the server that leads the campaign. It is durable when act returns.
func (s *Server) act(ctx context.Context, o order) error {
	leader, err := s.leading(ctx, o.Campaign)
	if err != nil {
		return err
	}
	if leader == s.owner {
		return s.obey(ctx, o)
	}
	if err = s.peers.ask(ctx, leader, http.MethodPost, "/order", o, nil); errors.Is(err, errAway) {
		err = &NotLeaderError{Campaign: o.Campaign, Leader: leader.Name(), Err: err}
	}
	return s.told(o.Campaign, err)
}

// obey does something with a campaign that is led here, and has who did it in the audit trail.
func (s *Server) obey(ctx context.Context, o order) error {
	l := s.lead(o.Campaign)
	if l == nil {
		return &NotLeaderError{Campaign: o.Campaign}
	}
	if err := o.do(ctx, l.campaign); errors.Is(err, upgrade.ErrNotRunning) {
		return s.ended(ctx, o.Campaign)
	} else if err != nil {
		return err
	}
	l.view.happened(upgrade.Event{}) // not everything that was done is an event of the campaign
	by := s.by(o.Actor)
	err := s.store.AddEvents(ctx, store.Event{At: by.At, Actor: o.Actor, Action: o.Action, Subject: l.name, Campaign: o.Campaign.String(), Detail: o.approver()})
	return s.told(o.Campaign, err)
}

// ended returns why nothing can be done with a campaign that has ended here this very moment, as its log has it.
func (s *Server) ended(ctx context.Context, id commit.CampaignID) error {
	c, err := s.read(ctx, id)
	switch {
	case err != nil:
		return err
	case c.Status().Closed:
		return fmt.Errorf("%w: campaign %s", commit.ErrDecided, id)
	}
	return &NotLeaderError{Campaign: id} // this server lets go of it
}

// Resolve says how a campaign goes on that waits because the store was restored from a backup: see
// [store.Store.ResolveRestored].
func (s *Server) Resolve(ctx context.Context, id commit.CampaignID, revision int64, as store.RestoredMark, actor string) (store.Campaign, error) {
	c, err := s.store.ResolveRestored(ctx, id, revision, as, s.by(actor))
	s.Look()
	return c, s.told(id, err)
}

// leading returns who leads a campaign that runs.
func (s *Server) leading(ctx context.Context, id commit.CampaignID) (store.Owner, error) {
	if s.lead(id) != nil {
		return s.owner, nil
	}
	c, err := s.store.Campaign(ctx, id)
	if err != nil {
		return "", err
	}
	if c.Phase != store.PhaseRunning && c.Phase != store.PhasePaused {
		return "", fmt.Errorf("%w: campaign %s is %s", store.ErrState, id, c.Phase)
	}
	switch leader := leaderOf(c.Lease); {
	case leader == "" || leader == s.owner: // none, or this one in a moment
		return "", &NotLeaderError{Campaign: id}
	case leader.URL() == "":
		return "", &NotLeaderError{Campaign: id, Leader: leader.Name()}
	default:
		return leader, nil
	}
}

// told passes on that a campaign has changed, unless err says that it has not.
func (s *Server) told(id commit.CampaignID, err error) error {
	if err == nil {
		s.hub.changed(Changes{Campaigns: []commit.CampaignID{id}})
	}
	return err
}
