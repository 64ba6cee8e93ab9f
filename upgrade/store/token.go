package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
)

// A Role is what the holder of a token may do.
type Role string

const (
	RoleViewer   Role = "viewer"   // look
	RoleOperator Role = "operator" // and make, change and run campaigns, enrol devices, upload releases
	RoleApprover Role = "approver" // and approve campaigns of others
	RoleAdmin    Role = "admin"    // and see, make and revoke tokens
	RoleDevice   Role = "device"   // speak as the device that the token is named for
)

var roles = []Role{RoleViewer, RoleOperator, RoleApprover, RoleAdmin, RoleDevice}

// Covers reports whether who has the role may do what another one may. Only roles of people cover any.
func (r Role) Covers(other Role) bool {
	people := roles[:4]
	return slices.Contains(people, r) && slices.Contains(people, other) && slices.Index(people, r) >= slices.Index(people, other)
}

// A Token lets in who knows its secret, of which the store has only the SHA-256. A person has one name, and may have
// several tokens.
type Token struct {
	ID       string // random, not secret
	Name     string
	Role     Role
	Created  By
	LastUsed time.Time // to the minute; zero: never
	Revoked  time.Time // zero: it is good
}

// newSecret returns 256 random bits as text, and what is kept of them. As it is random, a plain hash keeps it safe.
func newSecret() (secret, hash string) {
	b := make([]byte, 32)
	rand.Read(b) // never fails
	secret = base64.RawURLEncoding.EncodeToString(b)
	return secret, hashSecret(secret)
}

func hashSecret(secret string) string {
	h := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(h[:])
}

func newID() string {
	b := make([]byte, 8)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// CreateToken makes a token and returns its secret, which nobody can find out later.
func (s *Store) CreateToken(ctx context.Context, name string, role Role, by By) (t Token, secret string, err error) {
	if err := checkText("name", name, maxText); err != nil {
		return t, "", err
	}
	if name == "" || !slices.Contains(roles, role) || role == RoleDevice && !manifest.ValidName(name) {
		return t, "", fmt.Errorf("%w: token of role %.70q for %.70q: want a name and one of %v", ErrInvalid, role, name, roles)
	}
	secret, hash := newSecret()
	t = Token{ID: newID(), Name: name, Role: role, Created: by}
	return t, secret, s.act(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO tokens (id, name, role, hash, created_by, created_at, last_used, revoked_at) VALUES ($1, $2, $3, $4, $5, $6, 0, 0)`,
			t.ID, t.Name, string(t.Role), hash, by.Actor, nano(by.At)); err != nil {
			return err
		}
		return by.record(ctx, tx, "token.create", t.ID, "", map[string]string{"name": name, "role": string(role)})
	})
}

const tokenColumns = `SELECT id, name, role, created_by, created_at, last_used, revoked_at FROM tokens`

func scanToken(row scanner) (t Token, err error) {
	var created, used, revoked int64
	err = row.Scan(&t.ID, &t.Name, &t.Role, &t.Created.Actor, &created, &used, &revoked)
	t.Created.At, t.LastUsed, t.Revoked = moment(created), moment(used), moment(revoked)
	return t, err
}

// Token returns a token, good or revoked.
func (s *Store) Token(ctx context.Context, id string) (Token, error) {
	t, err := scanToken(s.readers.QueryRowContext(ctx, tokenColumns+` WHERE id = $1`, id))
	return t, found(err, "token", id)
}

// Authenticate returns the token that has the secret; [ErrDenied] if none has, or it is revoked.
func (s *Store) Authenticate(ctx context.Context, secret string, now time.Time) (Token, error) {
	t, err := scanToken(s.readers.QueryRowContext(ctx, tokenColumns+` WHERE hash = $1 AND revoked_at = 0`, hashSecret(secret)))
	if err == sql.ErrNoRows {
		return Token{}, fmt.Errorf("%w: token", ErrDenied)
	}
	if err == nil && now.Sub(t.LastUsed) >= time.Minute {
		t.LastUsed = now
		err = s.writeLazily(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `UPDATE tokens SET last_used = $1 WHERE id = $2 AND last_used < $1`, nano(now), t.ID)
			return err
		})
	}
	return t, err
}

// HasAdmin reports whether there is a token by which others can be made.
func (s *Store) HasAdmin(ctx context.Context) (has bool, err error) {
	err = s.readers.QueryRowContext(ctx, `SELECT COUNT(*) > 0 FROM tokens WHERE role = $1 AND revoked_at = 0`, string(RoleAdmin)).Scan(&has)
	return has, err
}

// RevokeToken ends a token, for good.
func (s *Store) RevokeToken(ctx context.Context, id string, by By) error {
	return s.act(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE tokens SET revoked_at = $1 WHERE id = $2 AND revoked_at = 0`, nano(by.At), id)
		if err := one(r, err, fmt.Errorf("%w: token %.70q that is not revoked", ErrNotFound, id)); err != nil {
			return err
		}
		return by.record(ctx, tx, "token.revoke", id, "", nil)
	})
}

var tokensBy = columns[Token]{key: column[Token]{name: "id", value: func(t Token) string { return t.ID }}}

// Tokens returns a page of all tokens by ID, or of one name's.
func (s *Store) Tokens(ctx context.Context, name string, p Page) (List[Token], error) {
	var c condition
	c.equal("name", name)
	return list(ctx, s.readers, tokenColumns, tokensBy, c, p, scanToken)
}

// An Enrolment lets one device in, once: the key it shows with the secret is approved.
type Enrolment struct {
	ID      string
	Device  string // the device that may use it. Empty: the first that does
	Site    string // which the device gets
	Tags    []string
	Created By
	Expires time.Time
	Used    By // by the device; zero: not used
}

// CreateEnrolment makes a one-time token for a device and returns its secret. ID, Created and Used of e are filled in.
func (s *Store) CreateEnrolment(ctx context.Context, e Enrolment, by By) (_ Enrolment, secret string, err error) {
	switch {
	case e.Device != "" && !manifest.ValidName(e.Device):
		return e, "", fmt.Errorf("%w: device %.70q is not a name", ErrInvalid, e.Device)
	case !e.Expires.After(by.At):
		return e, "", fmt.Errorf("%w: an enrolment has to expire, and later than now", ErrInvalid)
	}
	if err := checkPlace(e.Site, e.Tags); err != nil {
		return e, "", err
	}
	tags, err := json.Marshal(e.Tags)
	if err != nil {
		return e, "", err
	}
	secret, hash := newSecret()
	e.ID, e.Created, e.Used = newID(), by, By{}
	return e, secret, s.act(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO enrolments (id, hash, device, site, tags, created_by, created_at, expires, used_at, used_by)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, '')`, e.ID, hash, e.Device, e.Site, string(tags), by.Actor, nano(by.At), nano(e.Expires)); err != nil {
			return err
		}
		return by.record(ctx, tx, "enrolment.create", e.ID, "", map[string]any{"device": e.Device, "site": e.Site, "expires": e.Expires})
	})
}

// RevokeEnrolment has nobody be let in by an enrolment any more: it is gone. One that was used stays ([ErrState]): what it
// let in is a device, whose key can be revoked.
func (s *Store) RevokeEnrolment(ctx context.Context, id string, by By) error {
	return s.act(ctx, func(tx *sql.Tx) error {
		var device string
		err := tx.QueryRowContext(ctx, `DELETE FROM enrolments WHERE id = $1 AND used_at = 0 RETURNING device`, id).Scan(&device)
		if err == sql.ErrNoRows {
			var used string
			if err := tx.QueryRowContext(ctx, `SELECT used_by FROM enrolments WHERE id = $1`, id).Scan(&used); err != nil {
				return found(err, "enrolment", id)
			}
			return fmt.Errorf("%w: enrolment %s was used by device %s", ErrState, id, used)
		}
		if err != nil {
			return err
		}
		return by.record(ctx, tx, "enrolment.revoke", id, "", map[string]string{"device": device})
	})
}

var enrolmentsBy = columns[Enrolment]{
	key:    column[Enrolment]{name: "id", value: func(e Enrolment) string { return e.ID }},
	others: map[string]column[Enrolment]{"created": {name: "created_at", value: func(e Enrolment) string { return decimal(e.Created.At) }, number: true}},
}

// Enrolments returns a page of all enrolments by ID, or in the order created.
func (s *Store) Enrolments(ctx context.Context, p Page) (List[Enrolment], error) {
	return list(ctx, s.readers, `SELECT id, device, site, tags, created_by, created_at, expires, used_at, used_by FROM enrolments`, enrolmentsBy, condition{}, p,
		func(row scanner) (e Enrolment, err error) {
			var tags string
			var created, expires, used int64
			if err := row.Scan(&e.ID, &e.Device, &e.Site, &tags, &e.Created.Actor, &created, &expires, &used, &e.Used.Actor); err != nil {
				return e, err
			}
			e.Created.At, e.Expires, e.Used.At = moment(created), moment(expires), moment(used)
			return e, json.Unmarshal([]byte(tags), &e.Tags)
		})
}

// Enrol uses the enrolment that has the secret: the device exists from now on, with an approved key. [ErrDenied] if there
// is no such enrolment, or it was used, has expired or is another device's; [ErrExists] if the device has another key
// that is approved or revoked.
func (s *Store) Enrol(ctx context.Context, secret string, seen Sighting, key manifest.PublicKey, now time.Time) error {
	if err := seen.check(); err != nil {
		return err
	}
	if key.Role() != manifest.RoleDevice {
		return fmt.Errorf("%w: key of role %q", ErrInvalid, key.Role())
	}
	by := By{seen.Device, now}
	return s.act(ctx, func(tx *sql.Tx) error {
		var id, site, text string
		// One transaction finds it unused: the others wait for the row and then do not.
		err := tx.QueryRowContext(ctx, `UPDATE enrolments SET used_at = $1, used_by = $2 WHERE hash = $3 AND used_at = 0 AND expires > $1 AND device IN ('', $2)
			RETURNING id, site, tags`, nano(now), seen.Device, hashSecret(secret)).Scan(&id, &site, &text)
		if err == sql.ErrNoRows {
			return fmt.Errorf("%w: enrolment of device %s", ErrDenied, seen.Device)
		}
		if err != nil {
			return err
		}
		var tags []string
		if err := json.Unmarshal([]byte(text), &tags); err != nil {
			return err
		}
		seen.At = now
		if err := s.see(ctx, tx, []Sighting{seen}); err != nil {
			return err
		}
		if err := showKey(ctx, tx, seen.Device, key, by); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE devices SET key_state = $1, site = $2, revision = revision + 1 WHERE id = $3`,
			string(KeyApproved), site, seen.Device); err != nil {
			return err
		}
		if err := setTags(ctx, tx, seen.Device, tags); err != nil {
			return err
		}
		return by.record(ctx, tx, "device.enrol", seen.Device, "", map[string]string{"enrolment": id, "key": key.Fingerprint()})
	})
}

// TokenIsGood reports whether a token is there and not revoked, for who has authenticated it a while ago.
func (s *Store) TokenIsGood(ctx context.Context, id string) (good bool, err error) {
	err = s.readers.QueryRowContext(ctx, `SELECT COUNT(*) > 0 FROM tokens WHERE id = $1 AND revoked_at = 0`, id).Scan(&good)
	return good, err
}
