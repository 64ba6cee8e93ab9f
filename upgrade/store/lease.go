package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/multicast-upgrade/tool/commit"
)

// A Lease is the right to lead a campaign.
type Lease struct {
	Campaign commit.CampaignID
	Owner    Owner     // the server that has it
	Epoch    int64     // rises with each taking; what is written under a lower one is refused
	Until    time.Time // others may take it from then on
}

var (
	// ErrFenced is wrapped when somebody else has taken the lease, so that this leader has to stop: nothing of what it was
	// about to write was written.
	ErrFenced = errors.New("store: another server leads the campaign now")
	// ErrLeased is wrapped when another server has the lease.
	ErrLeased = errors.New("store: another server leads the campaign")
	// ErrUnresolved is wrapped when a campaign is older than a restore, and nobody has said what is to become of it.
	ErrUnresolved = errors.New("store: the campaign is older than the restored database; an operator has to say how it goes on")
)

// TakeLease takes the lead of a campaign that runs or is paused, for term. Whoever had it before is fenced off from that moment. It may
// be taken when it is over, or nobody's, or owner's own; [ErrLeased] otherwise. Owner names one process at a time. After a restart
// [Store.Serve] makes it nobody's where that can be known.
//
// To be sure that a clock which is ahead takes no lease that lives, term is a multiple of how far clocks of servers may be
// apart. If it happens all the same, it costs a change of leaders and nothing else.
func (s *Store) TakeLease(ctx context.Context, id commit.CampaignID, owner Owner, now time.Time, term time.Duration) (Lease, error) {
	if err := checkText("owner", string(owner), maxText); err != nil || owner == "" {
		return Lease{}, errors.Join(err, fmt.Errorf("%w: a lease has an owner", ErrInvalid))
	}
	l := Lease{Campaign: id, Owner: owner, Until: now.Add(term)}
	return l, s.act(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `UPDATE leases SET owner = $1, epoch = epoch + 1, until = $2 WHERE campaign = $3 AND (owner IN ('', $1) OR until <= $4) RETURNING epoch`,
			string(owner), nano(l.Until), id.String(), nano(now)).Scan(&l.Epoch)
		if err != nil && err != sql.ErrNoRows {
			return err
		}
		c, errRead := readCampaign(ctx, tx, id)
		switch {
		case errRead != nil:
			return errRead
		case err != nil:
			return fmt.Errorf("%w: %.70q, until %s", ErrLeased, c.Lease.Owner.Actor(), c.Lease.Until.Format(time.RFC3339))
		case c.Phase != PhaseRunning && c.Phase != PhasePaused:
			return fmt.Errorf("%w: campaign %s is %s", ErrState, id, c.Phase)
		case c.Restored == Unresolved:
			return fmt.Errorf("%w: %s", ErrUnresolved, id)
		}
		return By{owner.Actor(), now}.record(ctx, tx, "campaign.lead", c.Name, id.String(), map[string]int64{"epoch": l.Epoch})
	})
}

// RenewLease keeps the lead until now + term. A leader that gets [ErrFenced] stops; one that gets another error until its
// lease is over stops as well.
func (s *Store) RenewLease(ctx context.Context, l Lease, now time.Time, term time.Duration) (Lease, error) {
	l.Until = now.Add(term)
	return l, s.write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE leases SET until = $1 WHERE campaign = $2 AND epoch = $3 AND owner = $4`, nano(l.Until), l.Campaign.String(), l.Epoch, string(l.Owner))
		return one(r, err, l.fenced())
	})
}

// DropLease gives the lead back, so that nobody has to wait for its end.
func (s *Store) DropLease(ctx context.Context, l Lease) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE leases SET owner = '', until = 0 WHERE campaign = $1 AND epoch = $2 AND owner = $3`, l.Campaign.String(), l.Epoch, string(l.Owner))
		if err := one(r, err, l.fenced()); err != nil {
			return err
		}
		return s.tell(ctx, tx)
	})
}

func (l Lease) fenced() error { return fmt.Errorf("%w: %s, epoch %d", ErrFenced, l.Campaign, l.Epoch) }

// hold locks the row of the lease until the end of tx, or fails because it is not the last one.
func (l Lease) hold(ctx context.Context, tx *sql.Tx) error {
	r, err := tx.ExecContext(ctx, `UPDATE leases SET epoch = epoch WHERE campaign = $1 AND epoch = $2 AND owner = $3`, l.Campaign.String(), l.Epoch, string(l.Owner))
	return one(r, err, l.fenced())
}
