package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/multicast-upgrade/tool/commit/disk"
)

// ErrServed is returned when another server works on an SQLite database.
var ErrServed = errors.New("--db: another server works on this database; several on one need PostgreSQL")

// Serve takes the database for a server, until release is called or the process ends, however it ends. SQLite is for one, which
// locks a file beside it: so whoever led the campaigns is gone, and their leases are not waited for. PostgreSQL is for several,
// and only leases tell who is gone.
func (s *Store) Serve(ctx context.Context) (release func() error, err error) {
	if s.Several() {
		return func() error { return nil }, nil
	}
	dir, err := disk.Open(filepath.Dir(s.file))
	if err != nil {
		return nil, fmt.Errorf("--db: %w", err)
	}
	lock, err := dir.Lock(filepath.Base(s.file) + "-server")
	if errors.Is(err, disk.ErrLocked) {
		err = ErrServed
	}
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	release = func() error { return errors.Join(lock.Close(), dir.Close()) }
	if err := s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE leases SET owner = '', until = 0 WHERE owner <> ''`)
		return err
	}); err != nil {
		return nil, errors.Join(err, release())
	}
	return release, nil
}
