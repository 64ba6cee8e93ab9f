package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
)

// A CampaignPhase is how far the server is with a campaign. What devices and coordinator say is in its log.
type CampaignPhase string

const (
	PhaseDraft     CampaignPhase = "draft"     // may be changed
	PhaseScheduled CampaignPhase = "scheduled" // waits for its time
	PhaseRunning   CampaignPhase = "running"   // is, or is to be, led by a server
	PhasePaused    CampaignPhase = "paused"    // as well, and nothing is sent or decided: its log says so
	PhaseClosed    CampaignPhase = "closed"    // for good
)

// moves says what comes after what. A campaign that has begun ends only by its coordinator, which closes it, and is paused
// by its log alone.
var moves = map[CampaignPhase][]CampaignPhase{
	PhaseDraft:     {PhaseScheduled, PhaseClosed},
	PhaseScheduled: {PhaseDraft, PhaseRunning, PhaseClosed},
	PhaseRunning:   {PhaseClosed},
	PhasePaused:    {PhaseClosed},
}

// A Selector says which devices a campaign is for: those that every field that is not empty names. At least one is not.
type Selector struct {
	Products []string `json:"products,omitempty"`
	Sites    []string `json:"sites,omitempty"`
	Tags     []string `json:"tags,omitempty"`    // one of them
	Devices  []string `json:"devices,omitempty"` // up to commit.MaxTargets
}

// A Transport says how the images are sent; see upgrade.CampaignConfig for defaults.
type Transport struct {
	Group         netip.AddrPort `json:"group"`
	RepairGroup   netip.AddrPort `json:"repair_group,omitzero"` // beside a Group that is named here
	Interface     string         `json:"interface,omitempty"`
	Source        netip.Addr     `json:"source,omitzero"`
	TTL           int            `json:"ttl,omitempty"`
	Rate          float64        `json:"rate,omitempty"` // bits per second, as the next three
	StartRate     float64        `json:"start_rate,omitempty"`
	MinRate       float64        `json:"min_rate,omitempty"`
	MaxRate       float64        `json:"max_rate,omitempty"`
	ECN           bool           `json:"ecn,omitempty"` // where there is no Rate
	Burst         int            `json:"burst,omitempty"`
	SegmentSize   int            `json:"segment_size,omitempty"`
	FEC           string         `json:"fec,omitempty"` // as for --fec: rs8:128,127
	AutoParity    int            `json:"auto_parity,omitempty"`
	GRTT          time.Duration  `json:"grtt,omitempty"` // nanoseconds, as all durations
	BackoffFactor int            `json:"backoff_factor,omitempty"`
	GroupSize     int            `json:"group_size,omitempty"`
	Auth          string         `json:"auth,omitempty"`
	SegmentHashes bool           `json:"segment_hashes,omitempty"`
}

// A Wave is a part of the targets that is decided on its own, after the one before it has succeeded; see upgrade.Wave.
type Wave struct {
	Targets Selector `json:"targets,omitzero"`  // of the campaign's targets. Empty: all of them
	Percent int      `json:"percent,omitempty"` // of those, rounded up: by an order that the campaign's id gives. If zero, all that no earlier wave has

	Quorum       int           `json:"quorum,omitempty"` // percentages of the wave's targets
	SiteQuorum   int           `json:"site_quorum,omitempty"`
	Must         []string      `json:"must,omitempty"`
	ReadyTimeout time.Duration `json:"ready_timeout,omitempty"` // after the wave has begun
	Ask          bool          `json:"ask,omitempty"`

	Success        int           `json:"success,omitempty"` // percentages likewise
	Errors         int           `json:"errors,omitempty"`
	OutcomeTimeout time.Duration `json:"outcome_timeout,omitempty"`
	Soak           time.Duration `json:"soak,omitempty"`
}

// A Policy says when devices may activate, and what stops them.
type Policy struct {
	Waves         []Wave `json:"waves"` // 1 to 1,024
	MaxFailures   int    `json:"max_failures,omitempty"`
	AllowUnsigned bool   `json:"allow_unsigned,omitempty"`
	TwoPeople     bool   `json:"two_people,omitempty"` // somebody else than who made the campaign has to approve it before it is scheduled
}

// An Activation is when devices activate, after the decision.
type Activation struct {
	NotBefore time.Time     `json:"not_before,omitzero"`
	Window    time.Duration `json:"window,omitempty"`
	Spread    time.Duration `json:"spread,omitempty"`
	Hold      time.Duration `json:"hold,omitempty"` // how long an undecided stage is kept
}

// A Schedule says when a scheduled campaign starts: at At, if set; and then when Joined devices were seen or Wait is over,
// whichever is first, if set.
type Schedule struct {
	At     time.Time     `json:"at,omitzero"`
	Joined int           `json:"joined,omitempty"`
	Wait   time.Duration `json:"wait,omitempty"`
}

// CampaignSettings are what a campaign is to be; they are kept as JSON.
type CampaignSettings struct {
	Targets    Selector   `json:"targets"`
	Transport  Transport  `json:"transport"`
	Policy     Policy     `json:"policy"`
	Activation Activation `json:"activation"`
	Schedule   Schedule   `json:"schedule"`
	Seal       Seal       `json:"seal,omitzero"`
}

// A Seal says who is given the file keys of sealed images. Zero: each target, when it proves its key.
type Seal struct {
	To      []manifest.Recipient `json:"to,omitempty"`      // groups
	Devices bool                 `json:"devices,omitempty"` // each target as well
}

// A RestoredMark says that a campaign is older than a restore of the database, so that this server may have signed what
// the database does not know.
type RestoredMark string

const (
	NotRestored RestoredMark = ""
	// Unresolved campaigns are led by nobody, until an operator says what is to be done ([Store.ResolveRestored]).
	Unresolved RestoredMark = "unresolved"
	// Adopting campaigns are to be led with upgrade.CampaignConfig.Restored: they decide only by what devices show.
	Adopting RestoredMark = "adopting"
)

// A Campaign is what people see and change of one.
type Campaign struct {
	ID       commit.CampaignID
	Name     string // for people
	Release  manifest.Digest
	Settings CampaignSettings
	Phase    CampaignPhase
	Created  By
	Changed  string // who changed it last, or made it
	Approved By     // zero: nobody has
	Closed   time.Time
	Restored RestoredMark
	Revision int64
	Lease    Lease // its owner is empty if nobody leads it
}

var (
	// ErrSamePerson is wrapped when who made a campaign is to approve it.
	ErrSamePerson = errors.New("store: a campaign is approved by somebody else than who made it")
	// ErrNotApproved is wrapped when a campaign needs an approval.
	ErrNotApproved = errors.New("store: a second person has to approve the campaign")
)

const maxSettings = 64 << 20 // bytes of JSON: a list of targets

// check refuses what cannot be kept. Whether the campaign can run is for package upgrade to say.
func (c Campaign) check() (settings []byte, err error) {
	switch {
	case c.ID == commit.CampaignID{}:
		return nil, fmt.Errorf("%w: campaign without an id", ErrInvalid)
	case c.Name == "":
		return nil, fmt.Errorf("%w: campaign without a name", ErrInvalid)
	case len(c.Settings.Policy.Waves) == 0 || len(c.Settings.Policy.Waves) > commit.MaxWaves:
		return nil, fmt.Errorf("%w: %d waves, want 1 to %d", ErrInvalid, len(c.Settings.Policy.Waves), commit.MaxWaves)
	}
	if err := checkText("name", c.Name, maxText); err != nil {
		return nil, err
	}
	if err := c.Settings.Targets.check(true); err != nil {
		return nil, err
	}
	for _, w := range c.Settings.Policy.Waves {
		if err := w.Targets.check(false); err != nil {
			return nil, err
		}
		if err := checkNames("device", w.Must); err != nil {
			return nil, err
		}
	}
	if settings, err = json.Marshal(c.Settings); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return settings, checkText("settings", string(settings), maxSettings)
}

func (sel Selector) check(some bool) error {
	n := len(sel.Products) + len(sel.Sites) + len(sel.Tags)
	if some && n+len(sel.Devices) == 0 {
		return fmt.Errorf("%w: a campaign is for a product, a site, a tag or a list of devices", ErrInvalid)
	}
	if n > maxFilter || len(sel.Devices) > commit.MaxTargets {
		return fmt.Errorf("%w: %d products, sites and tags and %d devices, want up to %d and %d", ErrInvalid, n, len(sel.Devices), maxFilter, commit.MaxTargets)
	}
	return errors.Join(checkNames("product", sel.Products), checkNames("site", sel.Sites), checkNames("tag", sel.Tags), checkNames("device", sel.Devices))
}

func checkNames(field string, names []string) error {
	for _, name := range names {
		if !manifest.ValidName(name) {
			return fmt.Errorf("%w: %s %.70q is not a name", ErrInvalid, field, name)
		}
	}
	return nil
}

// AddCampaign makes a draft. Its ID is the caller's to choose at random, as announcements carry it.
func (s *Store) AddCampaign(ctx context.Context, c Campaign, by By) (Campaign, error) {
	c.Phase, c.Created, c.Changed, c.Approved, c.Closed, c.Restored, c.Revision, c.Lease = PhaseDraft, by, by.Actor, By{}, time.Time{}, NotRestored, 1, Lease{}
	settings, err := c.check()
	if err != nil {
		return c, err
	}
	return c, s.act(ctx, func(tx *sql.Tx) error {
		id := c.ID.String()
		if err := releaseExists(ctx, tx, c.Release); err != nil {
			return err
		}
		r, err := tx.ExecContext(ctx, `INSERT INTO campaigns (id, name, release_id, settings, state, created_by, created_at, changed_by, approved_by, approved_at, closed_at, restored, revision)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $6, '', 0, 0, '', 1) ON CONFLICT DO NOTHING`, id, c.Name, c.Release.String(), string(settings), string(c.Phase), by.Actor, nano(by.At))
		if err := one(r, err, fmt.Errorf("%w: campaign %s", ErrExists, id)); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO leases (campaign, owner, epoch, until, log_end) VALUES ($1, '', 0, 0, 0)`, id); err != nil {
			return err
		}
		return by.record(ctx, tx, "campaign.add", c.Name, id, nil)
	})
}

func releaseExists(ctx context.Context, q querier, id manifest.Digest) error {
	var n int
	return found(q.QueryRowContext(ctx, `SELECT 1 FROM releases WHERE id = $1`, id.String()).Scan(&n), "release", id.String())
}

// ChangeCampaign replaces name, release and settings of a draft that has c.Revision. An approval is void by it.
func (s *Store) ChangeCampaign(ctx context.Context, c Campaign, by By) (Campaign, error) {
	settings, err := c.check()
	if err != nil {
		return c, err
	}
	err = s.changeCampaign(ctx, &c, by, "campaign.change", []CampaignPhase{PhaseDraft}, func(tx *sql.Tx, _ Campaign) error {
		if err := releaseExists(ctx, tx, c.Release); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE campaigns SET name = $1, release_id = $2, settings = $3, changed_by = $4, approved_by = '', approved_at = 0 WHERE id = $5`,
			c.Name, c.Release.String(), string(settings), by.Actor, c.ID.String())
		return err
	})
	return c, err
}

// ApproveCampaign notes that a second person agrees with a draft as it is. [ErrSamePerson] for who made it, or changed it
// last.
func (s *Store) ApproveCampaign(ctx context.Context, id commit.CampaignID, revision int64, by By) (Campaign, error) {
	c := Campaign{ID: id, Revision: revision}
	err := s.changeCampaign(ctx, &c, by, "campaign.approve", []CampaignPhase{PhaseDraft}, func(tx *sql.Tx, was Campaign) error {
		if samePerson(by.Actor, was.Created.Actor) || samePerson(by.Actor, was.Changed) {
			return fmt.Errorf("%w: %.70q", ErrSamePerson, by.Actor)
		}
		_, err := tx.ExecContext(ctx, `UPDATE campaigns SET approved_by = $1, approved_at = $2 WHERE id = $3`, by.Actor, nano(by.At), id.String())
		return err
	})
	return c, err
}

// samePerson reports whether two names are of one person, as far as names tell: whatever tokens that one has.
func samePerson(a, b string) bool {
	return strings.EqualFold(strings.Join(strings.Fields(a), " "), strings.Join(strings.Fields(b), " "))
}

// MoveCampaign brings a campaign to another phase: draft, scheduled, running, closed; from draft and scheduled to closed,
// too. Whoever led it is fenced off. [ErrState] if that is no move, [ErrNotApproved] if a draft needs an approval.
func (s *Store) MoveCampaign(ctx context.Context, id commit.CampaignID, revision int64, to CampaignPhase, by By) (Campaign, error) {
	c := Campaign{ID: id, Revision: revision}
	var from []CampaignPhase
	for phase, next := range moves {
		if slices.Contains(next, to) {
			from = append(from, phase)
		}
	}
	err := s.changeCampaign(ctx, &c, by, "campaign."+string(to), from, func(tx *sql.Tx, was Campaign) error {
		if was.Settings.Policy.TwoPeople && was.Approved.Actor == "" && (to == PhaseScheduled || to == PhaseRunning) {
			return fmt.Errorf("%w: %s", ErrNotApproved, id)
		}
		closed := int64(0)
		if to == PhaseClosed {
			closed = nano(by.At)
		}
		if _, err := tx.ExecContext(ctx, `UPDATE campaigns SET state = $1, closed_at = $2 WHERE id = $3`, string(to), closed, id.String()); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE leases SET owner = '', until = 0, epoch = epoch + 1 WHERE campaign = $1`, id.String())
		return err
	})
	return c, err
}

// changeCampaign runs change if the campaign has c.Revision and is in one of the phases, and reads c anew.
func (s *Store) changeCampaign(ctx context.Context, c *Campaign, by By, action string, phases []CampaignPhase, change func(tx *sql.Tx, was Campaign) error) error {
	return s.act(ctx, func(tx *sql.Tx) error {
		id := c.ID.String()
		r, err := tx.ExecContext(ctx, `UPDATE campaigns SET revision = revision + 1 WHERE id = $1 AND revision = $2`, id, c.Revision)
		changed := one(r, err, ErrConflict)
		if changed != nil && changed != ErrConflict {
			return changed
		}
		was, err := readCampaign(ctx, tx, c.ID)
		switch {
		case err != nil:
			return err
		case changed != nil:
			return fmt.Errorf("%w: campaign %s is at revision %d", ErrConflict, id, was.Revision)
		case !slices.Contains(phases, was.Phase):
			return fmt.Errorf("%w: campaign %s is %s", ErrState, id, was.Phase)
		}
		if err := change(tx, was); err != nil {
			return err
		}
		if err := by.record(ctx, tx, action, was.Name, id, nil); err != nil {
			return err
		}
		*c, err = readCampaign(ctx, tx, c.ID)
		return err
	})
}

const campaignColumns = `SELECT c.id, c.name, c.release_id, c.settings, c.state, c.created_by, c.created_at, c.changed_by, c.approved_by, c.approved_at, c.closed_at, c.restored, c.revision,
	l.owner, l.epoch, l.until FROM campaigns c JOIN leases l ON l.campaign = c.id`

func scanCampaign(row scanner) (c Campaign, err error) {
	var id, release, settings string
	var created, approved, closed, until int64
	if err := row.Scan(&id, &c.Name, &release, &settings, &c.Phase, &c.Created.Actor, &created, &c.Changed, &c.Approved.Actor, &approved, &closed, &c.Restored, &c.Revision,
		&c.Lease.Owner, &c.Lease.Epoch, &until); err != nil {
		return c, err
	}
	c.Created.At, c.Approved.At, c.Closed, c.Lease.Until = moment(created), moment(approved), moment(closed), moment(until)
	if c.ID, err = manifest.ParseCampaignID(id); err != nil {
		return c, err
	}
	c.Lease.Campaign = c.ID
	if c.Release, err = manifest.ParseDigest(release); err != nil {
		return c, err
	}
	return c, json.Unmarshal([]byte(settings), &c.Settings)
}

func readCampaign(ctx context.Context, q querier, id commit.CampaignID) (Campaign, error) {
	c, err := scanCampaign(q.QueryRowContext(ctx, campaignColumns+` WHERE c.id = $1`, id.String()))
	return c, found(err, "campaign", id.String())
}

// Campaign returns a campaign.
func (s *Store) Campaign(ctx context.Context, id commit.CampaignID) (Campaign, error) {
	return readCampaign(ctx, s.readers, id)
}

// A CampaignFilter selects campaigns. What is zero does not matter.
type CampaignFilter struct {
	Phases  []CampaignPhase // one of them
	Release manifest.Digest
	Name    string
}

var campaignsBy = columns[Campaign]{
	key:    column[Campaign]{name: "c.id", value: func(c Campaign) string { return c.ID.String() }},
	others: map[string]column[Campaign]{"created": {name: "c.created_at", value: func(c Campaign) string { return decimal(c.Created.At) }, number: true}},
}

// Campaigns returns a page of campaigns by ID, or in the order created.
func (s *Store) Campaigns(ctx context.Context, f CampaignFilter, p Page) (List[Campaign], error) {
	var c condition
	phases := make([]string, len(f.Phases))
	for i, phase := range f.Phases {
		phases[i] = string(phase)
	}
	if len(phases) > maxFilter {
		return List[Campaign]{}, fmt.Errorf("%w: %d phases in a filter", ErrInvalid, len(phases))
	}
	c.in("c.state IN (%s)", phases)
	c.equal("c.name", f.Name)
	if f.Release != (manifest.Digest{}) {
		c.add("c.release_id = ?", f.Release.String())
	}
	return list(ctx, s.readers, campaignColumns, campaignsBy, c, p, scanCampaign)
}

// SelectTargets returns the devices that a selector means, by ID, as targets in wave 0: those whose key is approved and
// not a duplicate. With unsigned, devices without a key are among them. A device that was never seen is none.
func (s *Store) SelectTargets(ctx context.Context, sel Selector, unsigned bool) ([]commit.Target, error) {
	if err := sel.check(true); err != nil {
		return nil, err
	}
	var targets []commit.Target
	parts := [][]string{nil}
	if len(sel.Devices) > 0 {
		sorted := slices.Clone(sel.Devices)
		slices.Sort(sorted)
		parts = slices.Collect(slices.Chunk(slices.Compact(sorted), batchRows))
	}
	for _, ids := range parts {
		c, err := DeviceFilter{Products: sel.Products, Sites: sel.Sites, Tags: sel.Tags}.condition()
		if err != nil {
			return nil, err
		}
		c.in("id IN (%s)", ids)
		if unsigned {
			c.add("key_state IN ('', 'approved')")
		} else {
			c.add("key_state = 'approved'")
		}
		c.add("NOT duplicate")
		some, err := collect(ctx, s.readers, `SELECT id, site, public_key FROM devices`+c.String()+fmt.Sprint(" ORDER BY id LIMIT ", commit.MaxTargets+1), c.args, scanTarget)
		if err != nil {
			return nil, err
		}
		if targets = append(targets, some...); len(targets) > commit.MaxTargets {
			return nil, fmt.Errorf("%w: more than %d devices", ErrInvalid, commit.MaxTargets)
		}
	}
	return targets, nil
}

func scanTarget(row scanner) (t commit.Target, err error) {
	var key string
	if err := row.Scan(&t.Device, &t.Site, &key); err != nil {
		return t, err
	}
	if key != "" {
		t.Key, err = manifest.ParsePublicKey(key)
	}
	return t, err
}
