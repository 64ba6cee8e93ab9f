package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/multicast-upgrade/tool/commit"
)

// Backup writes a whole copy of an SQLite database to a file that is not there yet, as of one moment, while others read and
// write. The copy is durable and has mode 0600, as it holds secrets. Of PostgreSQL it says how that is backed up.
func (s *Store) Backup(ctx context.Context, file string) error {
	return s.backup(ctx, file)
}

// Restore makes an SQLite database of a backup, which stays as it is, where there is none: the database that is in the way
// is to be moved by hand, with its -wal. The campaigns in it are marked ([Store.MarkRestored]).
func Restore(ctx context.Context, backup, file string, by By) (err error) {
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("%w: %s; move it away first, with %[2]s-wal and %[2]s-shm", ErrExists, file), err)
	}
	fresh := file + ".restoring"
	if err := copyFile(backup, fresh); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			for _, suffix := range []string{"", "-wal", "-shm"} {
				os.Remove(fresh + suffix)
			}
		}
	}()
	s, err := Open(ctx, "sqlite:"+fresh)
	if err != nil {
		return err
	}
	err = s.checkSQLite(ctx)
	if err == nil {
		_, err = s.MarkRestored(ctx, by)
	}
	// The last connection that closes brings all of the log into the file.
	if err := errors.Join(err, s.Close()); err != nil {
		return err
	}
	if err := os.Rename(fresh, file); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	dir.Sync() // Windows cannot
	return dir.Close()
}

func (s *Store) checkSQLite(ctx context.Context) error {
	var result string
	if err := s.durable.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&result); err != nil {
		return err
	}
	if result != "ok" {
		return fmt.Errorf("the database is damaged: %s", result)
	}
	return nil
}

func copyFile(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Sync(), dst.Close())
}

// epochsAfterRestore is by how much a restore raises the epoch of leases: a leader from before it, whose epoch the database
// has forgotten, is still fenced off, as that many leases were not taken since the backup.
const epochsAfterRestore = 1 << 32

// MarkRestored is to be called once when the database is a copy that may be older than what this server has signed, before
// anything else. Campaigns that are not closed are [Unresolved] from then on, those in draft aside: nobody leads them, and
// so nothing of them is decided, until an operator says how each goes on. Enrolments that seem unused end, as they may
// have been used. It returns how many campaigns were marked.
func (s *Store) MarkRestored(ctx context.Context, by By) (marked int64, err error) {
	err = s.act(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE campaigns SET restored = $1, revision = revision + 1 WHERE state IN ('scheduled', 'running', 'paused')`, string(Unresolved))
		if err != nil {
			return err
		}
		if marked, err = r.RowsAffected(); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE leases SET owner = '', until = 0, epoch = epoch + $1`, int64(epochsAfterRestore)); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE enrolments SET expires = $1 WHERE used_at = 0 AND expires > $1`, nano(by.At)); err != nil {
			return err
		}
		return by.record(ctx, tx, "database.restored", "", "", map[string]int64{"campaigns": marked})
	})
	return marked, err
}

// ResolveRestored says how a campaign goes on after a restore. Adopting: it is led again and takes any decision that a
// device shows, but makes none. NotRestored: the operator vouches that the server has signed nothing for it since the
// backup, and it goes on as if nothing had happened.
func (s *Store) ResolveRestored(ctx context.Context, id commit.CampaignID, revision int64, as RestoredMark, by By) (Campaign, error) {
	c := Campaign{ID: id, Revision: revision}
	if as != NotRestored && as != Adopting {
		return c, fmt.Errorf("%w: %.70q: want %q, or nothing", ErrInvalid, as, Adopting)
	}
	err := s.changeCampaign(ctx, &c, by, "campaign.resolve", []CampaignPhase{PhaseScheduled, PhaseRunning, PhasePaused}, func(tx *sql.Tx, was Campaign) error {
		if was.Restored != Unresolved {
			return fmt.Errorf("%w: campaign %s has no restore to resolve", ErrState, id)
		}
		_, err := tx.ExecContext(ctx, `UPDATE campaigns SET restored = $1 WHERE id = $2`, string(as), id.String())
		return err
	})
	return c, err
}
