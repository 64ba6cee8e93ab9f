package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
)

// SaveNotice keeps what the leader of a campaign tells the devices of a wave, so that each server can tell them; [ErrFenced]
// when it leads no more. All parts of a notice are in the campaign's log before, so it may be lost with the power.
func (s *Store) SaveNotice(ctx context.Context, lease Lease, wave uint32, notice []byte) error {
	return s.writeLazily(ctx, func(tx *sql.Tx) error {
		if err := lease.hold(ctx, tx); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO notices (campaign, wave, serial, notice) VALUES ($1, $2, 1, $3)
			ON CONFLICT (campaign, wave) DO UPDATE SET serial = notices.serial + 1, notice = excluded.notice`, lease.Campaign.String(), int64(wave), notice)
		if err != nil {
			return err
		}
		return s.tell(ctx, tx)
	})
}

// NoticeSerials returns a number for each campaign that has notices and is not closed. It rises with each notice.
func (s *Store) NoticeSerials(ctx context.Context) (map[commit.CampaignID]int64, error) {
	type serial struct {
		id commit.CampaignID
		n  int64
	}
	list, err := collect(ctx, s.readers, `SELECT campaign, CAST(SUM(serial) AS BIGINT) FROM notices WHERE campaign IN (SELECT id FROM campaigns WHERE state IN ('running', 'paused')) GROUP BY campaign`, nil, func(row scanner) (v serial, err error) {
		var id string
		if err := row.Scan(&id, &v.n); err != nil {
			return v, err
		}
		v.id, err = manifest.ParseCampaignID(id)
		return v, err
	})
	serials := make(map[commit.CampaignID]int64, len(list))
	for _, v := range list {
		serials[v.id] = v.n
	}
	return serials, err
}

// Notices returns the notices of a campaign, by wave.
func (s *Store) Notices(ctx context.Context, id commit.CampaignID) (map[uint32][]byte, error) {
	notices := map[uint32][]byte{}
	_, err := collect(ctx, s.readers, `SELECT wave, notice FROM notices WHERE campaign = $1`, []any{id.String()}, func(row scanner) (wave int64, err error) {
		var notice []byte
		err = row.Scan(&wave, &notice)
		notices[uint32(wave)] = notice
		return wave, err
	})
	return notices, err
}

// FirstNotice returns the last notice of the first wave of a campaign, which is kept when the campaign is closed; nil if
// nothing was announced.
func (s *Store) FirstNotice(ctx context.Context, id commit.CampaignID) (notice []byte, err error) {
	err = s.readers.QueryRowContext(ctx, `SELECT notice FROM notices WHERE campaign = $1 AND wave = 0`, id.String()).Scan(&notice)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return notice, err
}

// CountWaiting notes how many devices of a scheduled campaign wait at one server now, and returns how many do at all
// servers that have said so within the time given.
func (s *Store) CountWaiting(ctx context.Context, id commit.CampaignID, owner Owner, devices int, now time.Time, within time.Duration) (all int, err error) {
	return all, s.writeLazily(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM waiting WHERE campaign = $1 AND at <= $2`, id.String(), nano(now.Add(-within))); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO waiting (campaign, owner, devices, at) VALUES ($1, $2, $3, $4)
			ON CONFLICT (campaign, owner) DO UPDATE SET devices = excluded.devices, at = excluded.at`, id.String(), string(owner), devices, nano(now)); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, `SELECT COALESCE(SUM(devices), 0) FROM waiting WHERE campaign = $1`, id.String()).Scan(&all)
	})
}
