package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/multicast-upgrade/tool/manifest"
)

// AddFileKeys keeps the file keys of a release's sealed images. The caller has checked them; those that are there already are
// replaced by what is the same.
func (s *Store) AddFileKeys(ctx context.Context, release manifest.Digest, keys []manifest.FileKey, by By) error {
	var secret []byte
	for _, k := range keys {
		secret = append(secret, k[:]...)
	}
	return s.act(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE releases SET file_keys = $1 WHERE id = $2`, secret, release.String())
		if err := one(r, err, fmt.Errorf("%w: release %s", ErrNotFound, release)); err != nil {
			return err
		}
		return by.record(ctx, tx, "release.keys", release.String(), "", nil)
	})
}

// FileKeys returns the file keys of a release, nil if there are none.
func (s *Store) FileKeys(ctx context.Context, release manifest.Digest) (keys []manifest.FileKey, err error) {
	var secret []byte
	if err := s.readers.QueryRowContext(ctx, `SELECT file_keys FROM releases WHERE id = $1`, release.String()).Scan(&secret); err != nil {
		return nil, found(err, "release", release.String())
	}
	for ; len(secret) >= len(manifest.FileKey{}); secret = secret[len(manifest.FileKey{}):] {
		keys = append(keys, manifest.FileKey(secret[:len(manifest.FileKey{})]))
	}
	return keys, nil
}
