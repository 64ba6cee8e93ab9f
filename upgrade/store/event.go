package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// By says who does something, and when. What is done with it is in the audit trail.
type By struct {
	Actor string // a person's name, or what the server calls itself
	At    time.Time
}

// An Event is an entry of the audit trail. It is never changed; [Store.Prune] removes old ones.
type Event struct {
	ID       int64 // rising, without gaps, in the order in which events became visible: who has read up to an ID misses none
	At       time.Time
	Actor    string
	Action   string          // such as "campaign.approve"
	Subject  string          // what it was done to
	Campaign string          // the campaign it belongs to, if it does
	Detail   json.RawMessage // an object; nil: none
}

// An EventFilter selects events. What is zero does not matter.
type EventFilter struct {
	Actor, Action, Subject, Campaign string

	Since time.Time
}

func (f EventFilter) condition() (c condition) {
	c.equal("actor", f.Actor)
	c.equal("action", f.Action)
	c.equal("subject", f.Subject)
	c.equal("campaign", f.Campaign)
	if !f.Since.IsZero() {
		c.add("at >= ?", nano(f.Since))
	}
	return c
}

const eventColumns = `SELECT id, at, actor, action, subject, campaign, detail FROM events`

const maxDetail = 64 << 10

// AddEvents adds to the audit trail, all or none. Their ID is given by the store.
func (s *Store) AddEvents(ctx context.Context, events ...Event) error {
	if len(events) == 0 {
		return nil
	}
	return s.act(ctx, func(tx *sql.Tx) error { return addEvents(ctx, tx, events...) })
}

// record adds what by does to the audit trail.
func (by By) record(ctx context.Context, tx *sql.Tx, action, subject, campaign string, detail any) error {
	e := Event{At: by.At, Actor: by.Actor, Action: action, Subject: subject, Campaign: campaign}
	if detail != nil {
		var err error
		if e.Detail, err = json.Marshal(detail); err != nil {
			return err
		}
	}
	return addEvents(ctx, tx, e)
}

func addEvents(ctx context.Context, tx *sql.Tx, events ...Event) error {
	// The row of the counter is locked until the commit: events become visible in the order of their numbers.
	last, err := take(ctx, tx, "event", len(events))
	if err != nil {
		return err
	}
	insert, err := tx.PrepareContext(ctx, `INSERT INTO events (id, at, actor, action, subject, campaign, detail) VALUES ($1, $2, $3, $4, $5, $6, $7)`)
	if err != nil {
		return err
	}
	defer insert.Close()
	for i, e := range events {
		for _, f := range []struct{ field, s string }{{"actor", e.Actor}, {"action", e.Action}, {"subject", e.Subject}, {"campaign", e.Campaign}} {
			if err := checkText(f.field, f.s, maxText); err != nil {
				return err
			}
		}
		if e.Actor == "" || e.Action == "" || e.At.IsZero() {
			return fmt.Errorf("%w: an event has an actor, an action and a time", ErrInvalid)
		}
		if len(e.Detail) > 0 && !json.Valid(e.Detail) {
			return fmt.Errorf("%w: the detail of an event is not JSON", ErrInvalid)
		}
		if err := checkText("detail", string(e.Detail), maxDetail); err != nil {
			return err
		}
		id := last - int64(len(events)-1-i)
		if _, err := insert.ExecContext(ctx, id, nano(e.At), e.Actor, e.Action, e.Subject, e.Campaign, string(e.Detail)); err != nil {
			return err
		}
	}
	return nil
}

// take gives out n numbers and returns the last.
func take(ctx context.Context, tx *sql.Tx, counter string, n int) (last int64, err error) {
	err = tx.QueryRowContext(ctx, `UPDATE counters SET n = n + $1 WHERE name = $2 RETURNING n`, n, counter).Scan(&last)
	return last, err
}

var eventsBy = columns[Event]{key: column[Event]{name: "id", value: func(e Event) string { return strconv.FormatInt(e.ID, 10) }, number: true}}

// Events returns a page of the audit trail by ID, which is the order in which things happened; Page.After is an ID in decimal.
func (s *Store) Events(ctx context.Context, f EventFilter, p Page) (List[Event], error) {
	return list(ctx, s.readers, eventColumns, eventsBy, f.condition(), p, scanEvent)
}

// LastEvent returns the ID of the newest event, 0 if there was none.
func (s *Store) LastEvent(ctx context.Context) (id int64, err error) {
	err = s.readers.QueryRowContext(ctx, `SELECT n FROM counters WHERE name = 'event'`).Scan(&id)
	return id, err
}

func scanEvent(row scanner) (e Event, err error) {
	var at int64
	var detail string
	err = row.Scan(&e.ID, &at, &e.Actor, &e.Action, &e.Subject, &e.Campaign, &detail)
	e.At = moment(at)
	if detail != "" {
		e.Detail = json.RawMessage(detail)
	}
	return e, err
}

// NewestEvent returns the last event that a filter selects, or [ErrNotFound].
func (s *Store) NewestEvent(ctx context.Context, f EventFilter) (Event, error) {
	c := f.condition()
	e, err := scanEvent(s.readers.QueryRowContext(ctx, eventColumns+c.String()+` ORDER BY id DESC LIMIT 1`, c.args...))
	return e, found(err, "event about", f.Subject+f.Campaign)
}
