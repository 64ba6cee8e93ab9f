package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
)

// A Start is what a campaign has for itself from when it is scheduled until it is closed.
type Start struct {
	Group   netip.AddrPort
	At      time.Time // when it was scheduled
	Targets []Target  // by device; frozen
}

// A Target is a device of a campaign, as it was when the list was frozen.
type Target struct {
	commit.Target
	Node uint32 // see [Device]; 0: the device was removed since
}

// An Overlap is a device that another campaign has.
type Overlap struct {
	Device   string            `json:"device"`
	Campaign commit.CampaignID `json:"campaign"`
	Name     string            `json:"name"` // of the campaign
}

// An OverlapError is returned when others have some of the devices of a campaign.
type OverlapError struct{ Devices []Overlap } // the first ones

func (e *OverlapError) Error() string {
	first := e.Devices[0]
	return fmt.Sprintf("store: device %s is a target of campaign %q (%s)", first.Device, first.Name, first.Campaign)
}

// ErrNoGroup is wrapped when each multicast group that a campaign may have is another's.
var ErrNoGroup = errors.New("store: the multicast group is in use by another campaign")

// maxOverlaps is how many devices an OverlapError names.
const maxOverlaps = 10

// StartCampaign schedules a draft that has this revision, with these targets and the first of groups that no campaign has.
// All of that happens or nothing: [*OverlapError] if a target is another's, [ErrNoGroup] if all groups are,
// [ErrNotApproved] if the draft needs an approval.
func (s *Store) StartCampaign(ctx context.Context, id commit.CampaignID, revision int64, targets []commit.Target, groups []netip.AddrPort, by By) (Campaign, error) {
	c := Campaign{ID: id, Revision: revision}
	err := s.changeCampaign(ctx, &c, by, "campaign."+string(PhaseScheduled), []CampaignPhase{PhaseDraft}, func(tx *sql.Tx, was Campaign) error {
		if was.Settings.Policy.TwoPeople && was.Approved.Actor == "" {
			return fmt.Errorf("%w: %s", ErrNotApproved, id)
		}
		if err := takeGroup(ctx, tx, id, groups, by.At); err != nil {
			return err
		}
		if err := s.takeTargets(ctx, tx, id, targets); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE campaigns SET state = $1 WHERE id = $2`, string(PhaseScheduled), id.String())
		return err
	})
	return c, err
}

func takeGroup(ctx context.Context, tx *sql.Tx, id commit.CampaignID, groups []netip.AddrPort, at time.Time) error {
	for _, group := range groups {
		r, err := tx.ExecContext(ctx, `INSERT INTO starts (campaign, destination, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, id.String(), group.String(), nano(at))
		if err := one(r, err, ErrNoGroup); err == nil || !errors.Is(err, ErrNoGroup) {
			return err
		}
	}
	return fmt.Errorf("%w: one of %v", ErrNoGroup, groups)
}

func (s *Store) takeTargets(ctx context.Context, tx *sql.Tx, id commit.CampaignID, targets []commit.Target) error {
	for part := range slices.Chunk(targets, batchRows) {
		ids, args := make([]string, len(part)), make([]any, 0, 5*len(part))
		for i, t := range part {
			key := ""
			if !t.Key.IsZero() {
				key = t.Key.String()
			}
			ids[i], args = t.Device, append(args, t.Device, id.String(), t.Site, key, int64(t.Wave))
		}
		n, err := s.insertRows(ctx, tx, `INSERT INTO targets (device, campaign, site, public_key, wave) VALUES `, 5, ` ON CONFLICT DO NOTHING`, args)
		if err != nil {
			return err
		}
		if n == int64(len(part)) {
			continue
		}
		others, err := overlaps(ctx, tx, id, ids, maxOverlaps)
		if err != nil {
			return err
		}
		if len(others) == 0 {
			return fmt.Errorf("%w: a device is listed twice", ErrInvalid)
		}
		return &OverlapError{others}
	}
	return nil
}

func overlaps(ctx context.Context, q querier, id commit.CampaignID, devices []string, limit int) ([]Overlap, error) {
	var c condition
	c.in("t.device IN (%s)", devices)
	c.add("t.campaign <> ?", id.String())
	return collect(ctx, q, `SELECT t.device, c.id, c.name FROM targets t JOIN campaigns c ON c.id = t.campaign`+c.String()+fmt.Sprint(` ORDER BY t.device LIMIT `, limit), c.args,
		func(row scanner) (o Overlap, err error) {
			var id string
			if err := row.Scan(&o.Device, &id, &o.Name); err != nil {
				return o, err
			}
			o.Campaign, err = manifest.ParseCampaignID(id)
			return o, err
		})
}

// Overlaps returns which of the devices are targets of campaigns that are scheduled or run, by device.
func (s *Store) Overlaps(ctx context.Context, devices []string) (all []Overlap, err error) {
	for part := range slices.Chunk(devices, batchRows) {
		some, err := overlaps(ctx, s.readers, commit.CampaignID{}, part, len(part))
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// CampaignStart returns what a campaign that is scheduled or runs has for itself; [ErrNotFound] for others.
func (s *Store) CampaignStart(ctx context.Context, id commit.CampaignID) (st Start, err error) {
	var group string
	var at int64
	err = s.readers.QueryRowContext(ctx, `SELECT destination, at FROM starts WHERE campaign = $1`, id.String()).Scan(&group, &at)
	if err != nil {
		return st, found(err, "started campaign", id.String())
	}
	st.At = moment(at)
	if st.Group, err = netip.ParseAddrPort(group); err != nil {
		return st, err
	}
	st.Targets, err = collect(ctx, s.readers, `SELECT t.device, t.site, t.public_key, t.wave, COALESCE(d.node, 0) FROM targets t LEFT JOIN devices d ON d.id = t.device
		WHERE t.campaign = $1 ORDER BY t.device`, []any{id.String()}, func(row scanner) (t Target, err error) {
		var key string
		var node int64
		if err := row.Scan(&t.Device, &t.Site, &key, &t.Wave, &node); err != nil {
			return t, err
		}
		t.Node = uint32(node)
		if key != "" {
			t.Key, err = manifest.ParsePublicKey(key)
		}
		return t, err
	})
	return st, err
}

// EndCampaign closes a campaign that has this revision, for good, and sets its devices and its group free.
func (s *Store) EndCampaign(ctx context.Context, id commit.CampaignID, revision int64, by By) (Campaign, error) {
	c := Campaign{ID: id, Revision: revision}
	err := s.changeCampaign(ctx, &c, by, "campaign."+string(PhaseClosed), []CampaignPhase{PhaseDraft, PhaseScheduled, PhaseRunning, PhasePaused}, func(tx *sql.Tx, _ Campaign) error {
		for _, text := range []string{`DELETE FROM targets WHERE campaign = $1`, `DELETE FROM starts WHERE campaign = $1`, `DELETE FROM notices WHERE campaign = $1 AND wave > 0`,
			`DELETE FROM waiting WHERE campaign = $1`} {
			if _, err := tx.ExecContext(ctx, text, id.String()); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `UPDATE campaigns SET state = $1, closed_at = $2 WHERE id = $3`, string(PhaseClosed), nano(by.At), id.String())
		return err
	})
	return c, err
}

// MarkDuplicate says that the key of a device lives in two agents, so that neither is believed.
func (s *Store) MarkDuplicate(ctx context.Context, device string, by By) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE devices SET duplicate = TRUE, revision = revision + 1 WHERE id = $1 AND NOT duplicate`, device)
		if err := one(r, err, errAgain); err != nil {
			if err == errAgain {
				return nil
			}
			return err
		}
		return by.record(ctx, tx, "device.duplicate", device, "", nil)
	})
}

var errAgain = errors.New("store: it was so before")

// HasLog reports whether a campaign has begun.
func (s *Store) HasLog(ctx context.Context, id commit.CampaignID) (has bool, err error) {
	err = s.readers.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM campaign_log WHERE campaign = $1)`, id.String()).Scan(&has)
	return has, err
}

// logPage is how many records ReadLog reads at once.
const logPage = 1000

// ReadLog gives f each record of the log of a campaign, in order, without leading it. F may take its time: nothing of the
// database waits for it.
func (s *Store) ReadLog(ctx context.Context, id commit.CampaignID, f func(rec []byte) error) error {
	for next := int64(0); ; {
		page, err := collect(ctx, s.readers, `SELECT n, record FROM campaign_log WHERE campaign = $1 AND n >= $2 ORDER BY n LIMIT $3`,
			[]any{id.String(), next, logPage}, func(row scanner) (rec []byte, err error) {
				err = row.Scan(&next, &rec)
				next++
				return rec, err
			})
		if err != nil {
			return err
		}
		for _, rec := range page {
			if err := f(rec); err != nil {
				return err
			}
		}
		if len(page) < logPage {
			return nil
		}
	}
}
