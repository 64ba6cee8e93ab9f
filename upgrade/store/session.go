package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Terms bound the sessions of people on the page.
type Terms struct {
	Life time.Duration // from the login on
	Idle time.Duration // without a request
	Most int           // at once; when there are as many, the one that was idle longest ends
}

// usedInterval is how exactly it is known when a session was used last.
const usedInterval = time.Minute

// OpenSession returns the secret of a new session of who has a token, which is named by its ID. It is good at each server
// on the database, which has a hash of it.
func (s *Store) OpenSession(ctx context.Context, token string, now time.Time, terms Terms) (secret string, err error) {
	secret, hash := newSecret()
	return secret, s.writeLazily(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE ends <= $1 OR used <= $2`, nano(now), nano(now.Add(-terms.Idle))); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE hash IN (SELECT hash FROM sessions ORDER BY used DESC, hash LIMIT 1000000 OFFSET $1)`, terms.Most-1); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO sessions (hash, token, ends, used, said) VALUES ($1, $2, $3, $4, '')`, hash, token, nano(now.Add(terms.Life)), nano(now))
		return err
	})
}

// Session returns the ID of the token whose session it is, and uses it; [ErrDenied] if there is none, or it is over.
func (s *Store) Session(ctx context.Context, secret string, now time.Time, idle time.Duration) (token string, err error) {
	var ends, used int64
	hash := hashSecret(secret)
	err = s.readers.QueryRowContext(ctx, `SELECT token, ends, used FROM sessions WHERE hash = $1`, hash).Scan(&token, &ends, &used)
	switch {
	case err == sql.ErrNoRows, err == nil && (nano(now) >= ends || now.Sub(moment(used)) >= idle):
		return "", fmt.Errorf("%w: session", ErrDenied)
	case err == nil && now.Sub(moment(used)) >= usedInterval:
		err = s.writeLazily(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `UPDATE sessions SET used = $1 WHERE hash = $2 AND used < $1`, nano(now), hash)
			return err
		})
	}
	return token, err
}

// EndSession ends a session, if it is there.
func (s *Store) EndSession(ctx context.Context, secret string) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE hash = $1`, hashSecret(secret))
		return err
	})
}

// SayInSession keeps a sentence for the next page of a session, and HearInSession fetches it.
func (s *Store) SayInSession(ctx context.Context, secret, text string) error {
	if err := checkText("sentence", text, maxDetail); err != nil {
		return err
	}
	return s.writeLazily(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE sessions SET said = $1 WHERE hash = $2`, text, hashSecret(secret))
		return err
	})
}

// HearInSession returns what SayInSession has kept, once.
func (s *Store) HearInSession(ctx context.Context, secret string) (text string, err error) {
	hash := hashSecret(secret)
	err = s.readers.QueryRowContext(ctx, `SELECT said FROM sessions WHERE hash = $1`, hash).Scan(&text)
	if err == sql.ErrNoRows || err == nil && text == "" {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return text, s.writeLazily(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE sessions SET said = '' WHERE hash = $1`, hash)
		return err
	})
}
