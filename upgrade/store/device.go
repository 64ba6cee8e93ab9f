package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
)

// A KeyState is what a device's key counts for.
type KeyState string

const (
	KeyNone     KeyState = ""         // the device has shown none
	KeyPending  KeyState = "pending"  // shown, but nobody has said that it is the device's
	KeyApproved KeyState = "approved" // by a person, or by an enrolment
	KeyRevoked  KeyState = "revoked"  // never counts again
)

// A Device is one that was seen, or enrolled.
type Device struct {
	ID, Product, Hardware string
	Version               string   // of the firmware, as it said last
	Site                  string   // from the operator
	Tags                  []string // from the operator, sorted
	FirstSeen, LastSeen   time.Time
	Key                   manifest.PublicKey
	KeyState              KeyState
	Duplicate             bool   // its key was shown by another device, too
	Node                  uint32 // NormNodeId, given by the store: from 1<<31 on, so that it is never that of a campaign's sender
	Revision              int64  // rises when an operator or a key changes the device
}

// A Sighting is what a device said of itself.
type Sighting struct {
	Device, Product, Hardware string
	Version                   string // may be empty
	At                        time.Time
}

func (g Sighting) check() error {
	for _, f := range []struct{ field, name string }{{"device", g.Device}, {"product", g.Product}, {"hardware", g.Hardware}} {
		if !manifest.ValidName(f.name) {
			return fmt.Errorf("%w: %s %.70q is not a name", ErrInvalid, f.field, f.name)
		}
	}
	if g.Version != "" && !manifest.ValidName(g.Version) {
		return fmt.Errorf("%w: version %.70q is not a name", ErrInvalid, g.Version)
	}
	return nil
}

// checkPlace checks what an operator says of a device.
func checkPlace(site string, tags []string) error {
	if site != "" && !manifest.ValidName(site) {
		return fmt.Errorf("%w: site %.70q is not a name", ErrInvalid, site)
	}
	if len(tags) > MaxTags {
		return fmt.Errorf("%w: %d tags, want up to %d", ErrInvalid, len(tags), MaxTags)
	}
	for _, tag := range tags {
		if !manifest.ValidName(tag) {
			return fmt.Errorf("%w: tag %.70q is not a name", ErrInvalid, tag)
		}
	}
	return nil
}

const (
	// MaxTags is how many tags a device may have.
	MaxTags = 32

	firstNode = 1 << 31
)

// SeeDevices notes what devices said of themselves; a device that is new is one from now on. Of several sightings of one
// device the last counts. All are taken or, if one is not valid, none.
func (s *Store) SeeDevices(ctx context.Context, seen ...Sighting) error {
	last := make(map[string]Sighting, len(seen))
	for _, g := range seen {
		if err := g.check(); err != nil {
			return err
		}
		last[g.Device] = g
	}
	batch := sorted(last, func(g Sighting) string { return g.Device })
	for part := range slices.Chunk(batch, batchRows) {
		if err := s.writeLazily(ctx, func(tx *sql.Tx) error { return s.see(ctx, tx, part) }); err != nil {
			return err
		}
	}
	return nil
}

// sorted returns the values of m by key. Rows are written in one order, so that two batches never wait for each other.
func sorted[T any](m map[string]T, key func(T) string) []T {
	batch := make([]T, 0, len(m))
	for _, v := range m {
		batch = append(batch, v)
	}
	slices.SortFunc(batch, func(a, b T) int { return strings.Compare(key(a), key(b)) })
	return batch
}

func (s *Store) see(ctx context.Context, tx *sql.Tx, seen []Sighting) error {
	ids := make([]string, len(seen))
	for i, g := range seen {
		ids[i] = g.Device
	}
	var c condition
	c.in("id IN (%s)", ids)
	known, err := collect(ctx, tx, `SELECT id FROM devices`+c.String(), c.args, func(row scanner) (id string, err error) {
		return id, row.Scan(&id)
	})
	if err != nil {
		return err
	}
	isKnown := make(map[string]bool, len(known))
	for _, id := range known {
		isKnown[id] = true
	}
	fresh := 0
	for _, id := range ids {
		if !isKnown[id] {
			fresh++
		}
	}
	node := int64(0)
	if fresh > 0 {
		if node, err = take(ctx, tx, "node", fresh); err != nil {
			return err
		}
		if node >= firstNode-1 { // NORM_NODE_ANY is the last
			return errors.New("store: no NormNodeId is left")
		}
	}
	const columns = 12
	args := make([]any, 0, columns*len(seen))
	for _, g := range seen {
		given := int64(0) // of a known device, which keeps its own
		if !isKnown[g.Device] {
			given, node = firstNode+node, node-1
		}
		args = append(args, g.Device, g.Product, g.Hardware, "", g.Version, nano(g.At), nano(g.At), "", "", false, given, 1)
	}
	// A device that another server inserts meanwhile keeps that one's node; the one taken here is given to nobody.
	_, err = s.insertRows(ctx, tx, `INSERT INTO devices (id, product, hardware, site, version, first_seen, last_seen, public_key, key_state, duplicate, node, revision) VALUES `, columns, `
		ON CONFLICT (id) DO UPDATE SET product = excluded.product, hardware = excluded.hardware, version = excluded.version, last_seen = excluded.last_seen
		WHERE devices.last_seen <= excluded.last_seen`, args)
	return err
}

// ShowKey notes that a device has proven to hold a key. The first one is pending, and so is another as long as none is
// approved; the error is [ErrExists] when the device has an approved or revoked one that is not this. Devices that show
// the same key are all marked as duplicate.
func (s *Store) ShowKey(ctx context.Context, device string, key manifest.PublicKey, now time.Time) error {
	if key.Role() != manifest.RoleDevice {
		return fmt.Errorf("%w: key of role %q", ErrInvalid, key.Role())
	}
	d, err := s.Device(ctx, device)
	if err != nil || d.Key == key {
		return err // the common case: it was noted
	}
	return s.act(ctx, func(tx *sql.Tx) error { return showKey(ctx, tx, device, key, By{device, now}) })
}

func showKey(ctx context.Context, tx *sql.Tx, device string, key manifest.PublicKey, by By) error {
	r, err := tx.ExecContext(ctx, `UPDATE devices SET public_key = $1, key_state = $2, revision = revision + 1
		WHERE id = $3 AND (public_key = $1 OR key_state IN ('', 'pending'))`, key.String(), string(KeyPending), device)
	if err := one(r, err, fmt.Errorf("%w: device %.70q has another key", ErrExists, device)); err != nil {
		return err
	}
	if err := by.record(ctx, tx, "device.key", device, "", map[string]string{"key": key.Fingerprint()}); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE devices SET duplicate = TRUE, revision = revision + 1
		WHERE public_key = $1 AND NOT duplicate AND 1 < (SELECT COUNT(*) FROM devices WHERE public_key = $1)`, key.String())
	return err
}

// ApproveKey says that the key is the device's: the one that revision of the device showed. A duplicate's cannot be
// approved ([ErrState]).
func (s *Store) ApproveKey(ctx context.Context, device string, revision int64, by By) error {
	return s.judgeKey(ctx, device, revision, KeyApproved, `key_state = 'pending' AND NOT duplicate`, by)
}

// RevokeKey says that the key never counts again, whoever shows it for this device.
func (s *Store) RevokeKey(ctx context.Context, device string, revision int64, by By) error {
	return s.judgeKey(ctx, device, revision, KeyRevoked, `key_state IN ('pending', 'approved')`, by)
}

func (s *Store) judgeKey(ctx context.Context, device string, revision int64, state KeyState, allowed string, by By) error {
	return s.act(ctx, func(tx *sql.Tx) error {
		d, err := readDevice(ctx, tx, device)
		if err != nil {
			return err
		}
		if d.Revision != revision {
			return fmt.Errorf("%w: device %s", ErrConflict, device)
		}
		r, err := tx.ExecContext(ctx, `UPDATE devices SET key_state = $1, revision = revision + 1 WHERE id = $2 AND revision = $3 AND `+allowed, string(state), device, revision)
		if err := one(r, err, fmt.Errorf("%w: the key of device %s is %s, duplicate %v", ErrState, device, d.KeyState, d.Duplicate)); err != nil {
			return err
		}
		return by.record(ctx, tx, "device.key-"+string(state), device, "", map[string]string{"key": d.Key.Fingerprint()})
	})
}

// ReplaceKey takes the key of a device away, as after its storage was renewed, so that it can show another. A duplicate
// is none any more; if its twin still holds the key, both are marked again when that key is shown.
func (s *Store) ReplaceKey(ctx context.Context, device string, revision int64, by By) error {
	return s.changeDevice(ctx, device, revision, by, "device.key-removed", nil, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE devices SET public_key = '', key_state = '', duplicate = FALSE WHERE id = $1`, device)
		return err
	})
}

// PlaceDevice sets the site and tags of a device.
func (s *Store) PlaceDevice(ctx context.Context, device string, revision int64, site string, tags []string, by By) error {
	if err := checkPlace(site, tags); err != nil {
		return err
	}
	return s.changeDevice(ctx, device, revision, by, "device.place", map[string]any{"site": site, "tags": tags}, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE devices SET site = $1 WHERE id = $2`, site, device); err != nil {
			return err
		}
		return setTags(ctx, tx, device, tags)
	})
}

// RemoveDevice forgets a device. If it shows itself again it is a new one.
func (s *Store) RemoveDevice(ctx context.Context, device string, revision int64, by By) error {
	return s.changeDevice(ctx, device, revision, by, "device.remove", nil, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM devices WHERE id = $1`, device)
		return err
	})
}

// changeDevice runs change if the device has that revision.
func (s *Store) changeDevice(ctx context.Context, device string, revision int64, by By, action string, detail any, change func(tx *sql.Tx) error) error {
	return s.act(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE devices SET revision = revision + 1 WHERE id = $1 AND revision = $2`, device, revision)
		if err := one(r, err, ErrConflict); err == ErrConflict {
			if _, err := readDevice(ctx, tx, device); err != nil {
				return err
			}
			return fmt.Errorf("%w: device %s", ErrConflict, device)
		} else if err != nil {
			return err
		}
		if err := change(tx); err != nil {
			return err
		}
		return by.record(ctx, tx, action, device, "", detail)
	})
}

func setTags(ctx context.Context, tx *sql.Tx, device string, tags []string) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM device_tags WHERE device = $1`, device); err != nil {
		return err
	}
	for _, tag := range tags {
		if _, err := tx.ExecContext(ctx, `INSERT INTO device_tags (device, tag) VALUES ($1, $2) ON CONFLICT DO NOTHING`, device, tag); err != nil {
			return err
		}
	}
	return nil
}

const deviceColumns = `SELECT id, product, hardware, site, version, first_seen, last_seen, public_key, key_state, duplicate, node, revision FROM devices`

func scanDevice(row scanner) (d Device, err error) {
	var first, last, node int64
	var key string
	if err := row.Scan(&d.ID, &d.Product, &d.Hardware, &d.Site, &d.Version, &first, &last, &key, &d.KeyState, &d.Duplicate, &node, &d.Revision); err != nil {
		return d, err
	}
	d.FirstSeen, d.LastSeen, d.Node = moment(first), moment(last), uint32(node)
	if key != "" {
		d.Key, err = manifest.ParsePublicKey(key)
	}
	return d, err
}

func readDevice(ctx context.Context, q querier, id string) (Device, error) {
	if !manifest.ValidName(id) {
		return Device{}, found(sql.ErrNoRows, "device", id)
	}
	d, err := scanDevice(q.QueryRowContext(ctx, deviceColumns+` WHERE id = $1`, id))
	return d, found(err, "device", id)
}

// DeviceWithoutTags is Device for who asks often, as for each device that says hello.
func (s *Store) DeviceWithoutTags(ctx context.Context, id string) (Device, error) {
	return readDevice(ctx, s.readers, id)
}

// Device returns a device.
func (s *Store) Device(ctx context.Context, id string) (Device, error) {
	d, err := s.DeviceWithoutTags(ctx, id)
	if err != nil {
		return d, err
	}
	items := []Device{d}
	err = s.addTags(ctx, items)
	return items[0], err
}

// addTags fills in the tags of a page of devices.
func (s *Store) addTags(ctx context.Context, devices []Device) error {
	at := make(map[string]int, len(devices))
	ids := make([]string, len(devices))
	for i, d := range devices {
		at[d.ID], ids[i] = i, d.ID
	}
	for part := range slices.Chunk(ids, batchRows) {
		var c condition
		c.in("device IN (%s)", part)
		_, err := collect(ctx, s.readers, `SELECT device, tag FROM device_tags`+c.String()+` ORDER BY device, tag`, c.args, func(row scanner) (_ struct{}, err error) {
			var device, tag string
			if err = row.Scan(&device, &tag); err == nil {
				devices[at[device]].Tags = append(devices[at[device]].Tags, tag)
			}
			return struct{}{}, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// A DeviceFilter selects devices. What is zero does not matter; of several values of a field one has to be the device's.
type DeviceFilter struct {
	Products, Sites, Tags []string // up to 200 of each

	KeyState  *KeyState
	Duplicate bool // only duplicates
	SeenSince time.Time
	Prefix    string // of the ID
}

func (f DeviceFilter) condition() (c condition, err error) {
	for _, values := range [][]string{f.Products, f.Sites, f.Tags} {
		if len(values) > maxFilter {
			return c, fmt.Errorf("%w: %d values in a filter, want up to %d", ErrInvalid, len(values), maxFilter)
		}
	}
	c.in("product IN (%s)", f.Products)
	c.in("site IN (%s)", f.Sites)
	c.in("id IN (SELECT device FROM device_tags WHERE tag IN (%s))", f.Tags)
	if f.KeyState != nil {
		c.add("key_state = ?", string(*f.KeyState))
	}
	if f.Duplicate {
		c.add("duplicate")
	}
	if !f.SeenSince.IsZero() {
		c.add("last_seen >= ?", nano(f.SeenSince))
	}
	if f.Prefix != "" {
		c.add("id >= ?", f.Prefix)
		c.add("id < ?", f.Prefix+"~") // which is behind all that a name is made of
	}
	return c, nil
}

var devicesBy = columns[Device]{
	key: column[Device]{name: "id", value: func(d Device) string { return d.ID }},
	others: map[string]column[Device]{
		"product": {name: "product", value: func(d Device) string { return d.Product }},
		"site":    {name: "site", value: func(d Device) string { return d.Site }},
		"seen":    {name: "last_seen", value: func(d Device) string { return decimal(d.LastSeen) }, number: true},
	},
}

// Devices returns a page of devices by ID, or in the order product, site or seen (LastSeen).
func (s *Store) Devices(ctx context.Context, f DeviceFilter, p Page) (List[Device], error) {
	c, err := f.condition()
	if err != nil {
		return List[Device]{}, err
	}
	l, err := list(ctx, s.readers, deviceColumns, devicesBy, c, p, scanDevice)
	if err == nil {
		err = s.addTags(ctx, l.Items)
	}
	return l, err
}

// CountDevicesUpTo counts the devices that a filter selects, up to most: however many there are, no more are looked at.
func (s *Store) CountDevicesUpTo(ctx context.Context, f DeviceFilter, most int) (n int, err error) {
	c, err := f.condition()
	if err != nil {
		return 0, err
	}
	c.args = append(c.args, most)
	err = s.readers.QueryRowContext(ctx, `SELECT COUNT(*) FROM (SELECT 1 FROM devices`+c.String()+` LIMIT $`+strconv.Itoa(len(c.args))+`) AS few`, c.args...).Scan(&n)
	return n, err
}

// CountDevices returns how many devices there are in each key state.
func (s *Store) CountDevices(ctx context.Context, f DeviceFilter) (map[KeyState]int, error) {
	c, err := f.condition()
	if err != nil {
		return nil, err
	}
	counts := map[KeyState]int{}
	_, err = collect(ctx, s.readers, `SELECT key_state, COUNT(*) FROM devices`+c.String()+` GROUP BY key_state`, c.args, func(row scanner) (_ struct{}, err error) {
		var state KeyState
		var n int
		err = row.Scan(&state, &n)
		counts[state] = n
		return struct{}{}, err
	})
	return counts, err
}
