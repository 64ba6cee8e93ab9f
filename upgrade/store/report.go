package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/commit"
)

// A Report is what a device said last of itself in a campaign. Nothing is decided by it.
type Report struct {
	Device   string
	State    commit.State
	Reason   commit.Reason
	Bytes    int64 // of Total that it has verified
	Total    int64
	Lost     int64 // segments it had to have repaired
	Overruns int64 // datagrams that its socket dropped
	Heard    int64 // datagrams it received
	ByHTTP   bool  // it has given multicast up, and fetches the rest
	At       time.Time
}

// ReportDevices notes reports of a campaign. Of several of one device the last counts, and an older one than is known
// changes nothing. It is meant to be called about once a second with all that came.
func (s *Store) ReportDevices(ctx context.Context, campaign commit.CampaignID, reports ...Report) error {
	last := make(map[string]Report, len(reports))
	for _, r := range reports {
		if err := r.check(); err != nil {
			return err
		}
		last[r.Device] = r
	}
	const columns = 11
	for part := range slices.Chunk(sorted(last, func(r Report) string { return r.Device }), batchRows) {
		args := make([]any, 0, columns*len(part))
		for _, r := range part {
			args = append(args, campaign.String(), r.Device, string(r.State), string(r.Reason), r.Bytes, r.Total, r.Lost, r.Overruns, r.Heard, r.ByHTTP, nano(r.At))
		}
		err := s.writeLazily(ctx, func(tx *sql.Tx) error {
			_, err := s.insertRows(ctx, tx, `INSERT INTO reports (campaign, device, state, reason, done, total, lost, overruns, heard, by_http, at) VALUES `, columns, `
				ON CONFLICT (campaign, device) DO UPDATE SET state = excluded.state, reason = excluded.reason, done = excluded.done, total = excluded.total,
				lost = excluded.lost, overruns = excluded.overruns, heard = excluded.heard, by_http = excluded.by_http,
				at = excluded.at WHERE reports.at <= excluded.at`, args)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (r Report) check() error {
	if err := checkNames("device", []string{r.Device}); err != nil {
		return err
	}
	if err := checkText("state", string(r.State), maxText); err != nil {
		return err
	}
	if err := checkText("reason", string(r.Reason), maxText); err != nil {
		return err
	}
	if r.Bytes < 0 || r.Total < r.Bytes || r.Lost < 0 || r.Overruns < 0 || r.Heard < 0 {
		return fmt.Errorf("%w: report of device %s: %d of %d bytes, %d lost, %d overruns", ErrInvalid, r.Device, r.Bytes, r.Total, r.Lost, r.Overruns)
	}
	return nil
}

// A ReportFilter selects reports. What is zero does not matter; of several values one has to be the report's.
type ReportFilter struct {
	States  []commit.State
	Reasons []commit.Reason
}

func (f ReportFilter) condition(campaign commit.CampaignID) (c condition, err error) {
	if len(f.States) > maxFilter || len(f.Reasons) > maxFilter {
		return c, fmt.Errorf("%w: %d states and %d reasons in a filter", ErrInvalid, len(f.States), len(f.Reasons))
	}
	c.add("campaign = ?", campaign.String())
	var states, reasons []string
	for _, s := range f.States {
		states = append(states, string(s))
	}
	for _, r := range f.Reasons {
		reasons = append(reasons, string(r))
	}
	c.in("state IN (%s)", states)
	c.in("reason IN (%s)", reasons)
	return c, nil
}

var reportsBy = columns[Report]{key: column[Report]{name: "device", value: func(r Report) string { return r.Device }}}

// Reports returns a page of the reports of a campaign, by device.
func (s *Store) Reports(ctx context.Context, campaign commit.CampaignID, f ReportFilter, p Page) (List[Report], error) {
	c, err := f.condition(campaign)
	if err != nil {
		return List[Report]{}, err
	}
	return list(ctx, s.readers, `SELECT device, state, reason, done, total, lost, overruns, heard, by_http, at FROM reports`, reportsBy, c, p, func(row scanner) (r Report, err error) {
		var at int64
		err = row.Scan(&r.Device, &r.State, &r.Reason, &r.Bytes, &r.Total, &r.Lost, &r.Overruns, &r.Heard, &r.ByHTTP, &at)
		r.At = moment(at)
		return r, err
	})
}

// A Tally is how many devices of a campaign are in a state for a reason.
type Tally struct {
	State  commit.State
	Reason commit.Reason
	N      int
}

// Tallies counts the reports of a campaign, by state and reason.
func (s *Store) Tallies(ctx context.Context, campaign commit.CampaignID) ([]Tally, error) {
	t, err := collect(ctx, s.readers, `SELECT state, reason, COUNT(*) FROM reports WHERE campaign = $1 GROUP BY state, reason`, []any{campaign.String()}, func(row scanner) (t Tally, err error) {
		return t, row.Scan(&t.State, &t.Reason, &t.N)
	})
	slices.SortFunc(t, func(a, b Tally) int {
		return strings.Compare(string(a.State)+" "+string(a.Reason), string(b.State)+" "+string(b.Reason))
	})
	return t, err
}
