package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// What the store refuses; errors wrap these.
var (
	ErrNotFound = errors.New("store: there is no such thing")
	ErrExists   = errors.New("store: it is there already")
	ErrConflict = errors.New("store: it was changed by somebody else meanwhile")
	ErrInvalid  = errors.New("store: invalid")
	ErrState    = errors.New("store: not in this state")
	ErrDenied   = errors.New("store: unknown, used, expired or revoked")
)

// A Store is an open database.
type Store struct {
	engine
	readers *sql.DB
	durable *sql.DB // a commit returns when it is on stable storage
	lazy    *sql.DB // the last commits may be lost with the power, none is torn
	writing sync.Mutex
}

// An engine is what differs between the databases.
type engine struct {
	name string
	file string // of SQLite; empty: several servers may work on the database
	// oneWriter says that transactions that write wait for each other; it is quicker to wait in here.
	oneWriter bool
	// insertAtOnce is how many rows one statement inserts at best. SQLite looks each parameter up among the others; to
	// PostgreSQL each statement is a round trip.
	insertAtOnce int
	migrate      func(ctx context.Context, tx *sql.Tx) error // takes the lock of migrations
	words        *strings.Replacer                           // of migrations
	backup       func(ctx context.Context, file string) error
	retry        func(err error) bool                      // the transaction was sacrificed to another and may be run again
	listen       func(ctx context.Context, f func()) error // nil: there are no other servers
}

// Open opens the database at a URL and brings its tables up to date:
//
//	sqlite:FILE                                       made if it is not there, mode 0600
//	postgres://USER:PASSWORD@HOST:PORT/DATABASE?…     also postgresql://; PGPASSWORD and a passfile work, too
//
// It refuses a database that a newer version of this program has changed, and one that is set up to lose what it has
// confirmed. Errors are one line that a user can act on, and hold no password.
func Open(ctx context.Context, url string) (*Store, error) {
	scheme, rest, _ := strings.Cut(url, ":")
	var s *Store
	var err error
	switch {
	case scheme == "sqlite" && rest != "":
		s, err = openSQLite(ctx, rest)
	case scheme == "postgres", scheme == "postgresql":
		s, err = openPostgres(ctx, url)
	default:
		return nil, errors.New("--db: want sqlite:FILE or postgres://USER@HOST/DATABASE")
	}
	if err == nil {
		if err = s.bringUpToDate(ctx); err != nil {
			s.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("--db: %w", err)
	}
	return s, nil
}

// Several reports whether several servers may work on the database.
func (s *Store) Several() bool { return s.file == "" }

// Close closes the database. Everything that was to be durable is.
func (s *Store) Close() error {
	var errs []error
	for _, db := range []*sql.DB{s.readers, s.lazy, s.durable} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// act is write for what comes into the audit trail. Such transactions run one after the other, from the first statement
// on: none of them misses what another is about to write. Other servers are told of it.
func (s *Store) act(ctx context.Context, f func(tx *sql.Tx) error) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		if !s.oneWriter {
			if _, err := tx.ExecContext(ctx, `UPDATE counters SET n = n WHERE name = 'event'`); err != nil {
				return err
			}
		}
		if err := f(tx); err != nil {
			return err
		}
		return s.tell(ctx, tx)
	})
}

// write runs f in a transaction that is durable when it returns nil. Nothing of f stays if it fails; f may run again.
func (s *Store) write(ctx context.Context, f func(tx *sql.Tx) error) error {
	return s.transact(ctx, s.durable, f)
}

// writeLazily is write for what may be lost with the power.
func (s *Store) writeLazily(ctx context.Context, f func(tx *sql.Tx) error) error {
	return s.transact(ctx, s.lazy, f)
}

const tries = 5

func (s *Store) transact(ctx context.Context, db *sql.DB, f func(tx *sql.Tx) error) (err error) {
	if s.oneWriter {
		s.writing.Lock()
		defer s.writing.Unlock()
	}
	for range tries {
		if err = try(ctx, db, f); err == nil || !s.retry(err) {
			break
		}
	}
	return err
}

func try(ctx context.Context, db *sql.DB, f func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// one returns errNone unless the statement changed a row.
func one(r sql.Result, err, errNone error) error {
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return errNone
}

// found returns ErrNotFound, naming the thing, when a row was asked for and there is none.
func found(err error, kind, id string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%w: %s %.70q", ErrNotFound, kind, id)
	}
	return err
}
