package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// A Setting is a named text of the server, such as a default.
type Setting struct {
	Name, Value string
	Revision    int64 // 0: there is none yet
}

// Setting returns a setting; without an error and with Revision 0 if it was never made.
func (s *Store) Setting(ctx context.Context, name string) (Setting, error) {
	v := Setting{Name: name}
	err := s.readers.QueryRowContext(ctx, `SELECT value, revision FROM settings WHERE name = $1`, name).Scan(&v.Value, &v.Revision)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return v, err
}

// PutSetting changes or makes a setting that has v.Revision ([ErrConflict] if it does not), and returns it with the new one.
func (s *Store) PutSetting(ctx context.Context, v Setting, by By) (Setting, error) {
	if err := errors.Join(checkText("name", v.Name, maxText), checkText("value", v.Value, maxDetail)); err != nil {
		return v, err
	}
	was := v.Revision
	v.Revision++
	return v, s.act(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE settings SET value = $1, revision = $2 WHERE name = $3 AND revision = $4`, v.Value, v.Revision, v.Name, was)
		if was == 0 {
			r, err = tx.ExecContext(ctx, `INSERT INTO settings (name, value, revision) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, v.Name, v.Value, v.Revision)
		}
		if err := one(r, err, fmt.Errorf("%w: setting %.70q", ErrConflict, v.Name)); err != nil {
			return err
		}
		return by.record(ctx, tx, "setting.put", v.Name, "", nil)
	})
}
