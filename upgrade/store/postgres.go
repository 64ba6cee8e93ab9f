package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// migrationLock is the key of PostgreSQL's advisory lock: of several servers that start together one migrates.
const migrationLock = 0x6d63757067726164 // "mcupgrad"

func openPostgres(ctx context.Context, url string) (*Store, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		// The error of pgx quotes the URL.
		return nil, errors.New("the postgres:// URL cannot be parsed: want postgres://USER@HOST:PORT/DATABASE?sslmode=verify-full, special characters as %XX")
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "normsend"
	}
	db := stdlib.OpenDB(*cfg, stdlib.OptionAfterConnect(checkDurable))
	conns := max(8, 2*runtime.NumCPU())
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	s := &Store{
		engine: engine{
			name: "PostgreSQL", insertAtOnce: batchRows,
			migrate: func(ctx context.Context, tx *sql.Tx) error {
				_, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(migrationLock))
				return err
			},
			words: strings.NewReplacer(" TEXT", ` TEXT COLLATE "C"`, " BLOB", " BYTEA"),
			backup: func(context.Context, string) error {
				return errors.New("a PostgreSQL database is backed up by pg_dump, or by what archives its write-ahead log; after a restore start the server once with --restored")
			},
			retry: func(err error) bool {
				e, ok := errors.AsType[*pgconn.PgError](err)
				return ok && (e.Code == "40P01" || e.Code == "40001") // deadlock_detected, serialization_failure
			},
			listen: func(ctx context.Context, f func()) error { return listenPostgres(ctx, cfg, f) },
		},
		readers: db, durable: db, lazy: db,
	}
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("PostgreSQL at %s: %w", cfg.Host, err), s.Close())
	}
	return s, nil
}

// checkDurable refuses a server whose commits can be lost with the power: a vote that was confirmed and is forgotten,
// or a decision, would split the fleet.
func checkDurable(ctx context.Context, conn *pgx.Conn) error {
	for _, name := range []string{"synchronous_commit", "fsync", "full_page_writes"} {
		var value string
		if err := conn.QueryRow(ctx, `SELECT current_setting($1)`, name).Scan(&value); err != nil {
			return err
		}
		if value == "off" {
			return fmt.Errorf("PostgreSQL has %s = off, so it loses commits with the power; set it to on for this database", name)
		}
	}
	return nil
}
