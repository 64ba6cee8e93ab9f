package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/multicast-upgrade/tool/commit"
)

// A CampaignState is what an upgrade.Campaign keeps, under a lease: it is an upgrade.State. Whatever it writes is refused
// with [ErrFenced] when the lease was taken by another.
type CampaignState struct {
	store *Store
	ctx   context.Context
	lease Lease
}

// CampaignState returns the state of a campaign for who leads it. Ctx ends all that is done with it; the lease need not be
// the renewed one.
func (s *Store) CampaignState(ctx context.Context, lease Lease) *CampaignState {
	return &CampaignState{s, ctx, lease}
}

// String returns how people are told of the state.
func (st *CampaignState) String() string {
	return fmt.Sprintf("campaign %s in the %s database", st.lease.Campaign, st.store.name)
}

// Load returns what Create and Save were given last; nil where there is none.
func (st *CampaignState) Load() (frozen, issue []byte, err error) {
	err = st.store.readers.QueryRowContext(st.ctx, `SELECT frozen, issue FROM campaign_states WHERE campaign = $1`, st.lease.Campaign.String()).Scan(&frozen, &issue)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil, nil
	}
	if len(issue) == 0 {
		issue = nil
	}
	return frozen, issue, err
}

// Create makes the campaign exist as far as package upgrade is concerned.
func (st *CampaignState) Create(frozen []byte) error {
	return st.write(func(tx *sql.Tx) error {
		_, err := tx.ExecContext(st.ctx, `INSERT INTO campaign_states (campaign, frozen, issue) VALUES ($1, $2, $3)`, st.lease.Campaign.String(), frozen, []byte{})
		return err
	})
}

// Save keeps what is about to be announced.
func (st *CampaignState) Save(issue []byte) error {
	return st.write(func(tx *sql.Tx) error {
		r, err := tx.ExecContext(st.ctx, `UPDATE campaign_states SET issue = $1 WHERE campaign = $2`, issue, st.lease.Campaign.String())
		return one(r, err, fmt.Errorf("%w: state of campaign %s", ErrNotFound, st.lease.Campaign))
	})
}

// DiscardLog removes the log of a campaign that never came to be: one that Create was not called for.
func (st *CampaignState) DiscardLog() error {
	return st.write(func(tx *sql.Tx) error {
		id := st.lease.Campaign.String()
		var created int
		if err := tx.QueryRowContext(st.ctx, `SELECT COUNT(*) FROM campaign_states WHERE campaign = $1`, id).Scan(&created); err != nil {
			return err
		}
		if created > 0 {
			return fmt.Errorf("%w: campaign %s exists, and with it its log", ErrState, id)
		}
		for _, text := range []string{
			`DELETE FROM campaign_log WHERE campaign = $1`,
			`DELETE FROM decisions WHERE campaign = $1`,
			`UPDATE leases SET log_end = 0 WHERE campaign = $1`,
		} {
			if _, err := tx.ExecContext(st.ctx, text, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// Close does nothing: the lease is its owner's to drop.
func (st *CampaignState) Close() error { return nil }

// write is Store.write under the lease.
func (st *CampaignState) write(f func(tx *sql.Tx) error) error {
	return st.store.write(st.ctx, func(tx *sql.Tx) error {
		if err := st.lease.hold(st.ctx, tx); err != nil {
			return err
		}
		return f(tx)
	})
}

// OpenLog gives replay each record of the coordinator's log, in order, and returns the log for appending.
func (st *CampaignState) OpenLog(replay func(rec []byte) error) (commit.Log, error) {
	log := &campaignLog{state: st}
	rows, err := st.store.readers.QueryContext(st.ctx, `SELECT n, record FROM campaign_log WHERE campaign = $1 ORDER BY n`, st.lease.Campaign.String())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		var rec sql.RawBytes
		if err := rows.Scan(&n, &rec); err != nil {
			return nil, err
		}
		if n != log.end {
			return nil, fmt.Errorf("store: the log of campaign %s has record %d where %d should be", st.lease.Campaign, n, log.end)
		}
		log.end++
		if err := replay(rec); err != nil {
			return nil, err
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return log, st.write(log.isWhole)
}

// A campaignLog is a commit.Log in the database.
type campaignLog struct {
	state *CampaignState
	end   int64 // the number of the next record
	err   error // why it takes no more
}

// isWhole refuses a log that has lost its end, or grew while it was read.
func (l *campaignLog) isWhole(tx *sql.Tx) error {
	var end int64
	id := l.state.lease.Campaign
	if err := tx.QueryRowContext(l.state.ctx, `SELECT log_end FROM leases WHERE campaign = $1`, id.String()).Scan(&end); err != nil {
		return err
	}
	if end != l.end {
		return fmt.Errorf("store: the log of campaign %s ends at record %d, and %d were read", id, end, l.end)
	}
	return nil
}

// Append implements [commit.Log]: all recs in one transaction, if the log ends where this leader left it and the lease is
// its own. A record that decides a wave brings the wave's row, of which there can be only one; one that pauses the campaign
// brings its phase.
func (l *campaignLog) Append(recs ...[]byte) error {
	if l.err != nil {
		return l.err // whether the failed one was kept is not known until the log is opened again
	}
	if len(recs) == 0 {
		return nil
	}
	ctx, id := l.state.ctx, l.state.lease.Campaign.String()
	err := l.state.store.write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE leases SET log_end = log_end + $1 WHERE campaign = $2 AND log_end = $3 AND epoch = $4 AND owner = $5`,
			len(recs), id, l.end, l.state.lease.Epoch, string(l.state.lease.Owner))
		if err := one(r, err, l.state.lease.fenced()); err != nil {
			return err
		}
		args := make([]any, 0, 3*len(recs))
		for i, rec := range recs {
			args = append(args, id, l.end+int64(i), rec)
		}
		if _, err := l.state.store.insertRows(ctx, tx, `INSERT INTO campaign_log (campaign, n, record) VALUES `, 3, ``, args); err != nil {
			return err
		}
		for i, rec := range recs {
			s, err := commit.Summarize(rec)
			if err != nil {
				return err
			}
			if s.Brake {
				if err := l.movePhase(tx, s); err != nil {
					return err
				}
			}
			d := s.Decision
			if d.Verdict == commit.Undecided {
				continue
			}
			r, err := tx.ExecContext(ctx, `INSERT INTO decisions (campaign, wave, verdict, n) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`, id, int64(d.Wave), d.Verdict.String(), l.end+int64(i))
			if err := one(r, err, fmt.Errorf("%w: campaign %s wave %d", commit.ErrDecided, id, d.Wave)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		l.err = err
		return err
	}
	l.end += int64(len(recs))
	return nil
}

// movePhase has people see that the campaign is paused, or goes on. Who has paused it is in the audit trail by what that
// person did; if nobody has, it is the leader that says why.
func (l *campaignLog) movePhase(tx *sql.Tx, s commit.Summary) error {
	ctx, lease := l.state.ctx, l.state.lease
	from, to := PhasePaused, PhaseRunning
	if s.Paused {
		from, to = to, from
	}
	r, err := tx.ExecContext(ctx, `UPDATE campaigns SET state = $1, revision = revision + 1 WHERE id = $2 AND state = $3`, string(to), lease.Campaign.String(), string(from))
	if err := one(r, err, errAgain); err != nil || !s.Paused || s.Reason == commit.ReasonOperator {
		if err == errAgain {
			return nil // it was so before
		}
		return err
	}
	c, err := readCampaign(ctx, tx, lease.Campaign)
	if err != nil {
		return err
	}
	return By{lease.Owner.Actor(), s.At}.record(ctx, tx, "campaign.paused", c.Name, lease.Campaign.String(), map[string]commit.Reason{"reason": s.Reason})
}

// A WaveDecision is how a wave was decided.
type WaveDecision struct {
	Wave    uint32
	Verdict string // COMMIT or ABORT
	Record  int64  // its number in the coordinator's log
}

// Decisions returns the decisions of a campaign, by wave.
func (s *Store) Decisions(ctx context.Context, id commit.CampaignID) ([]WaveDecision, error) {
	return collect(ctx, s.readers, `SELECT wave, verdict, n FROM decisions WHERE campaign = $1 ORDER BY wave`, []any{id.String()}, func(row scanner) (d WaveDecision, err error) {
		return d, row.Scan(&d.Wave, &d.Verdict, &d.Record)
	})
}
