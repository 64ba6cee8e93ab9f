//go:build !mips && !mipsle && !mips64 && !mips64le

package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
)

// ErrDead is what everything returns that a store does after its process has died at a [Boundary].
var ErrDead = errors.New("store: the process is dead")

// A Boundary is told of every transaction that a store commits durably, before that and after it, and says whether the
// process dies there. Then a transaction that is not committed is not, and nothing is done any more.
type Boundary func(committed bool) (dies bool)

// Die puts a boundary around the durable transactions of a store in an SQLite file.
func (s *Store) Die(file string, at Boundary) error {
	connector := &boundaryConnector{driver: s.durable.Driver(), source: sourceSQLite(file, durableSQLite...), at: at}
	if err := s.durable.Close(); err != nil {
		return err
	}
	s.durable = sql.OpenDB(connector)
	s.durable.SetMaxOpenConns(1)
	return nil
}

type boundaryConnector struct {
	driver driver.Driver
	source string
	at     Boundary
	dead   bool
}

func (c *boundaryConnector) Driver() driver.Driver { return c.driver }

func (c *boundaryConnector) Connect(context.Context) (driver.Conn, error) {
	if c.dead {
		return nil, ErrDead
	}
	conn, err := c.driver.Open(c.source)
	if err != nil {
		return nil, err
	}
	return &boundaryConn{conn, c}, nil
}

// A boundaryConn is a connection of a process that may be dead.
type boundaryConn struct {
	driver.Conn
	of *boundaryConnector
}

func (c *boundaryConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	if c.of.dead {
		return nil, ErrDead
	}
	tx, err := c.Conn.(driver.ConnBeginTx).BeginTx(ctx, o)
	if err != nil {
		return nil, err
	}
	return &boundaryTx{tx, c.of}, nil
}

func (c *boundaryConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if c.of.dead {
		return nil, ErrDead
	}
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

func (c *boundaryConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if c.of.dead {
		return nil, ErrDead
	}
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

type boundaryTx struct {
	driver.Tx
	of *boundaryConnector
}

func (t *boundaryTx) Commit() error {
	if t.of.at(false) {
		t.of.dead = true
		return errors.Join(ErrDead, t.Tx.Rollback()) // as the next process finds it
	}
	err := t.Tx.Commit()
	if t.of.at(true) {
		t.of.dead = true
		return ErrDead
	}
	return err
}
