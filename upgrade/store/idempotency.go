package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// An Answer is what a request got, for when it comes again.
type Answer struct {
	Status int // of HTTP
	Body   []byte
}

// A Claim is the right to answer a request that has an idempotency key.
type Claim struct {
	actor, key, request string
	until               int64
}

var (
	// ErrBusy is wrapped when the same request is being answered. It may be asked again in a moment.
	ErrBusy = errors.New("store: the same request is being answered")
	// ErrReused is wrapped when the key came with another request before.
	ErrReused = errors.New("store: the idempotency key was used for another request")
)

const maxAnswer = 1 << 20

// ClaimRequest takes a request of actor under its idempotency key. If it was answered before, that answer is returned. If
// not, the claim is to be ended by [Store.AnswerRequest] or [Store.DropRequest] within hold; after that, as when the
// server dies, the request may be claimed again.
func (s *Store) ClaimRequest(ctx context.Context, actor, key string, request []byte, now time.Time, hold time.Duration) (claim Claim, answered *Answer, err error) {
	if err := errors.Join(checkText("actor", actor, maxText), checkText("idempotency key", key, maxText)); err != nil {
		return claim, nil, err
	}
	digest := sha256.Sum256(request)
	claim = Claim{actor, key, hex.EncodeToString(digest[:]), nano(now.Add(hold))}
	err = s.write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `INSERT INTO idempotency (actor, idem_key, request, status, answer, until) VALUES ($1, $2, $3, 0, $4, $5)
			ON CONFLICT (actor, idem_key) DO UPDATE SET request = excluded.request, status = 0, answer = excluded.answer, until = excluded.until
			WHERE idempotency.until <= $6`, actor, key, claim.request, []byte{}, claim.until, nano(now))
		if err = one(r, err, ErrBusy); !errors.Is(err, ErrBusy) {
			return err
		}
		var was string
		a := new(Answer)
		err = tx.QueryRowContext(ctx, `SELECT request, status, answer FROM idempotency WHERE actor = $1 AND idem_key = $2`, actor, key).Scan(&was, &a.Status, &a.Body)
		switch {
		case err != nil:
			return err
		case was != claim.request:
			return fmt.Errorf("%w: %.70q", ErrReused, key)
		case a.Status == 0:
			return fmt.Errorf("%w: %.70q", ErrBusy, key)
		}
		answered = a
		return nil
	})
	return claim, answered, err
}

// AnswerRequest keeps the answer of a claimed request until a time. The error is [ErrConflict] when the claim was not ended
// in time and somebody else has it.
func (s *Store) AnswerRequest(ctx context.Context, c Claim, a Answer, until time.Time) error {
	if a.Status <= 0 || len(a.Body) > maxAnswer {
		return fmt.Errorf("%w: answer with status %d and %d bytes, want a status and up to %d bytes", ErrInvalid, a.Status, len(a.Body), maxAnswer)
	}
	if a.Body == nil {
		a.Body = []byte{}
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE idempotency SET status = $1, answer = $2, until = $3
			WHERE actor = $4 AND idem_key = $5 AND request = $6 AND status = 0 AND until = $7`, a.Status, a.Body, nano(until), c.actor, c.key, c.request, c.until)
		return one(r, err, fmt.Errorf("%w: request %.70q", ErrConflict, c.key))
	})
}

// DropRequest ends a claim without an answer, so that the request can be made again at once.
func (s *Store) DropRequest(ctx context.Context, c Claim) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM idempotency WHERE actor = $1 AND idem_key = $2 AND request = $3 AND status = 0 AND until = $4`, c.actor, c.key, c.request, c.until)
		return err
	})
}
