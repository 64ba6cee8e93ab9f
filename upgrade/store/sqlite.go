//go:build !mips && !mipsle && !mips64 && !mips64le

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"modernc.org/sqlite" // the driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// openSQLite opens a file in WAL mode: readers see the last commit and never wait.
//
// With synchronous=FULL a commit is in the log file and that is synced; with NORMAL it is in the log file, which is synced
// at the next checkpoint or durable commit. So what a durable transaction has seen is durable with it.
func openSQLite(ctx context.Context, file string) (*Store, error) {
	if strings.HasPrefix(file, "//") || strings.HasPrefix(file, "file:") || strings.ContainsAny(file, "?#") || file == ":memory:" {
		return nil, fmt.Errorf("%q: want sqlite:FILE, with a plain path and without parameters", "sqlite:"+file)
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600) // it holds secrets; SQLite gives its other files the same mode
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	s := &Store{engine: engine{
		name: "SQLite", file: file, oneWriter: true, insertAtOnce: 4,
		migrate: func(context.Context, *sql.Tx) error { return nil }, // the transaction is immediate: it is the lock
		words:   strings.NewReplacer(),
		backup:  func(ctx context.Context, to string) error { return backupSQLite(ctx, file, to) },
		retry:   func(error) bool { return false },
	}}
	if s.durable, err = connectSQLite(file, 1, durableSQLite...); err != nil {
		return nil, err
	}
	if err = writeAhead(ctx, s.durable); err == nil {
		s.lazy, err = connectSQLite(file, 1, "_txlock=immediate", "_pragma=synchronous(NORMAL)")
	}
	if err == nil {
		s.readers, err = connectSQLite(file, max(4, runtime.NumCPU()), "_pragma=query_only(1)")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", file, err), s.Close())
	}
	return s, nil
}

// durableSQLite is how transactions that survive a power cut are made.
var durableSQLite = []string{"_txlock=immediate", "_pragma=synchronous(FULL)"}

const (
	// busyTimeout is how long a connection waits for the lock of another.
	busyTimeout = 10 * time.Second
	busyPause   = 20 * time.Millisecond
)

// writeAhead turns the write-ahead log on, which is the first statement and makes the file a database. This lock SQLite does not
// wait for, as a connection that reads takes it in addition, and two of them would wait for each other; so it is tried
// again, when several servers start together.
func writeAhead(ctx context.Context, db *sql.DB) error {
	for end := time.Now().Add(busyTimeout); ; {
		var mode string
		err := db.QueryRowContext(ctx, `PRAGMA journal_mode=WAL`).Scan(&mode)
		switch e, ok := errors.AsType[*sqlite.Error](err); {
		case ok && e.Code()&0xff == sqlite3.SQLITE_BUSY && time.Now().Before(end): // the other bits say more of it
		case err == nil && mode != "wal":
			return fmt.Errorf("the file system has no shared memory for a write-ahead log (journal mode %s)", mode)
		default:
			return err
		}
		select {
		case <-time.After(rand.N(busyPause)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func connectSQLite(file string, conns int, params ...string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", sourceSQLite(file, params...))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// sourceSQLite names a file and how it is opened.
func sourceSQLite(file string, params ...string) string {
	params = append(slices.Clone(params), fmt.Sprintf("_pragma=busy_timeout(%d)", busyTimeout.Milliseconds()), "_pragma=foreign_keys(1)")
	return file + "?" + strings.Join(params, "&")
}

// backupSQLite has a connection of its own, which only reads: writers go on.
func backupSQLite(ctx context.Context, file, to string) error {
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600) // SQLite takes an empty file
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %s; a backup does not overwrite", ErrExists, to)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	db, err := connectSQLite(file, 1)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, `VACUUM INTO $1`, to); err != nil {
		return errors.Join(err, os.Remove(to))
	}
	return f.Sync()
}
