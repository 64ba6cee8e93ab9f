package store

import (
	"context"
	"database/sql"
)

// Listen calls f whenever what other servers on the database do may be worth a look, until ctx ends: after an entry in
// the audit trail, a notice, and a lease that was given back. It is quicker than looking now and then, which is needed
// all the same: a connection that fails loses what was said meanwhile. SQLite is for one server, which nobody tells
// anything.
func (s *Store) Listen(ctx context.Context, f func()) error {
	if s.listen == nil {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return s.listen(ctx, f)
}

// tell has other servers look when tx is committed.
func (s *Store) tell(ctx context.Context, tx *sql.Tx) error {
	if s.listen == nil {
		return nil
	}
	_, err := tx.ExecContext(ctx, `NOTIFY normsend`)
	return err
}
