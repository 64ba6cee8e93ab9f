package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Migrations are files NNNN_what.sql, numbered from 1 on without a gap. One that was released is never changed.
//
//go:embed migrations/*.sql
var embedded embed.FS

// bringUpToDate runs the migrations that the database has not had, each in one transaction.
func (s *Store) bringUpToDate(ctx context.Context) error { return s.runMigrations(ctx, embedded) }

func (s *Store) runMigrations(ctx context.Context, files fs.FS) error {
	names, err := fs.Glob(files, "migrations/*.sql") // sorted
	if err != nil {
		return err
	}
	for i, name := range names {
		number, _, _ := strings.Cut(path.Base(name), "_")
		if n, err := strconv.Atoi(number); err != nil || n != i+1 {
			return fmt.Errorf("%s: want number %d", name, i+1)
		}
	}
	for done := false; !done; {
		err := s.write(ctx, func(tx *sql.Tx) (err error) {
			done, err = s.migrateOnce(ctx, tx, files, names)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// migrateOnce runs the next migration, if there is one.
func (s *Store) migrateOnce(ctx context.Context, tx *sql.Tx, files fs.FS, names []string) (done bool, err error) {
	if err := s.migrate(ctx, tx); err != nil {
		return false, err
	}
	if _, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)`); err != nil {
		return false, err
	}
	var version int
	if err := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(version), 0) FROM schema_version`).Scan(&version); err != nil {
		return false, err
	}
	switch {
	case version > len(names):
		return false, fmt.Errorf("the database has version %d and this program knows up to %d: run the newer program, or restore a backup from before", version, len(names))
	case version == len(names):
		return true, nil
	}
	text, err := fs.ReadFile(files, names[version])
	if err != nil {
		return false, err
	}
	if _, err := tx.ExecContext(ctx, s.words.Replace(string(text))); err != nil {
		return false, fmt.Errorf("%s: %w", names[version], err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO schema_version (version) VALUES ($1)`, version+1)
	return false, err
}
