package store

import (
	"context"
	"database/sql"
	"time"
)

// Retention says how long things are kept. What is zero is kept for ever.
type Retention struct {
	Events  time.Duration // entries of the audit trail
	Reports time.Duration // what devices said, after their campaign was closed, and what they found out about their network
	Tokens  time.Duration // revoked tokens, and enrolments that were used or have expired
}

// uploadPatience is how long an upload may take, and what a crash left of one stays.
const uploadPatience = 24 * time.Hour

// pruneRows is how much one transaction removes, so that nobody waits long for it.
const pruneRows = 5000

// Prune removes what is over: by keep, and in any case answers and examinations whose time has passed, and what uploads left a day ago.
// Logs, decisions and the campaigns themselves stay.
func (s *Store) Prune(ctx context.Context, now time.Time, keep Retention) error {
	old := func(age time.Duration) int64 {
		if age == 0 {
			return 0 // no time is before 1970
		}
		return nano(now.Add(-age))
	}
	for _, p := range []struct {
		text   string
		before int64
	}{
		{`DELETE FROM idempotency WHERE (actor, idem_key) IN (SELECT actor, idem_key FROM idempotency WHERE until <= $1 LIMIT $2)`, nano(now)},
		{`DELETE FROM contents WHERE id IN (SELECT id FROM contents WHERE started <= $1 AND id NOT IN (SELECT content FROM images WHERE content IS NOT NULL) LIMIT $2)`, nano(now.Add(-uploadPatience))},
		{`DELETE FROM events WHERE id IN (SELECT id FROM events WHERE at <= $1 LIMIT $2)`, old(keep.Events)},
		{`DELETE FROM reports WHERE (campaign, device) IN (SELECT r.campaign, r.device FROM reports r JOIN campaigns c ON c.id = r.campaign
			WHERE c.state = 'closed' AND c.closed_at <= $1 LIMIT $2)`, old(keep.Reports)},
		{`DELETE FROM examinations WHERE id IN (SELECT id FROM examinations WHERE until <= $1 LIMIT $2)`, nano(now)},
		{`DELETE FROM diagnoses WHERE device IN (SELECT device FROM diagnoses WHERE at <= $1 AND asked <= $1 LIMIT $2)`, old(keep.Reports)},
		{`DELETE FROM tokens WHERE id IN (SELECT id FROM tokens WHERE revoked_at > 0 AND revoked_at <= $1 LIMIT $2)`, old(keep.Tokens)},
		{`DELETE FROM enrolments WHERE id IN (SELECT id FROM enrolments WHERE expires <= $1 OR used_at > 0 AND used_at <= $1 LIMIT $2)`, old(keep.Tokens)},
	} {
		if p.before == 0 {
			continue
		}
		for removed := int64(pruneRows); removed == pruneRows; {
			err := s.writeLazily(ctx, func(tx *sql.Tx) error {
				r, err := tx.ExecContext(ctx, p.text, p.before, pruneRows)
				if err != nil {
					return err
				}
				removed, err = r.RowsAffected()
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
