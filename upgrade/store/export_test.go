package store

import (
	"context"
	"database/sql"
	"io/fs"
)

// Migrate runs other migrations than those of the package.
func (s *Store) Migrate(ctx context.Context, files fs.FS) error { return s.runMigrations(ctx, files) }

// DB returns the database that writes durably.
func (s *Store) DB() *sql.DB { return s.durable }
