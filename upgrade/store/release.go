package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"

	"github.com/multicast-upgrade/tool/manifest"
)

// A Release is a signed manifest with its images.
type Release struct {
	ID       manifest.Digest // the manifest digest
	Signed   []byte          // as in fw.manifest
	Manifest *manifest.Manifest
	Uploaded By
	Missing  []string // names of images that are not uploaded yet; nil: the release can be sent
	FileKeys bool     // those of its sealed images are here
}

// AddRelease keeps a release, whose images follow ([Store.AddImage]). The caller has checked the signatures, or leaves
// that to the devices; the store only reads the manifest. The error is [ErrExists] if there is one with this digest.
func (s *Store) AddRelease(ctx context.Context, signed []byte, by By) (Release, error) {
	m, _, err := manifest.OpenUnverified(signed)
	if err != nil {
		return Release{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	r := Release{ID: m.Digest(), Signed: signed, Manifest: m, Uploaded: by}
	for _, im := range m.Images {
		r.Missing = append(r.Missing, im.Name)
	}
	return r, s.act(ctx, func(tx *sql.Tx) error {
		id := r.ID.String()
		result, err := tx.ExecContext(ctx, `INSERT INTO releases (id, product, version, sequence, epoch, expires, signed, uploaded_by, uploaded_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`,
			id, m.Product, m.Version, int64(m.Sequence), int64(m.Epoch), nano(m.Expires), signed, by.Actor, nano(by.At))
		if err := one(result, err, fmt.Errorf("%w: release %s", ErrExists, r.ID)); err != nil {
			return err
		}
		for i, im := range m.Images {
			if _, err := tx.ExecContext(ctx, `INSERT INTO images (release_id, n, name, size, sha256) VALUES ($1, $2, $3, $4, $5)`, id, i, im.Name, im.Size, im.SHA256.String()); err != nil {
				return err
			}
		}
		return by.record(ctx, tx, "release.add", id, "", map[string]string{"product": m.Product, "version": m.Version})
	})
}

// Release returns a release.
func (s *Store) Release(ctx context.Context, id manifest.Digest) (Release, error) {
	r, err := scanRelease(s.readers.QueryRowContext(ctx, releaseColumns+` WHERE id = $1`, id.String()))
	if err != nil {
		return Release{}, found(err, "release", id.String())
	}
	r.Missing, err = missing(ctx, s.readers, id)
	return r, err
}

const releaseColumns = `SELECT id, signed, uploaded_by, uploaded_at, file_keys IS NOT NULL FROM releases`

func scanRelease(row scanner) (r Release, err error) {
	var id string
	var at int64
	if err := row.Scan(&id, &r.Signed, &r.Uploaded.Actor, &at, &r.FileKeys); err != nil {
		return r, err
	}
	r.Uploaded.At = moment(at)
	if r.ID, err = parseDigest(id); err != nil {
		return r, err
	}
	r.Manifest, _, err = manifest.OpenUnverified(r.Signed)
	return r, err
}

func parseDigest(s string) (d manifest.Digest, err error) {
	b, err := hex.DecodeString(s)
	if err == nil && copy(d[:], b) != len(d) {
		err = fmt.Errorf("digest %.70q", s)
	}
	return d, err
}

func missing(ctx context.Context, q querier, id manifest.Digest) ([]string, error) {
	return collect(ctx, q, `SELECT name FROM images WHERE release_id = $1 AND content IS NULL ORDER BY n`, []any{id.String()}, func(row scanner) (name string, err error) {
		return name, row.Scan(&name)
	})
}

var releasesBy = columns[Release]{
	key:    column[Release]{name: "id", value: func(r Release) string { return r.ID.String() }},
	others: map[string]column[Release]{"uploaded": {name: "uploaded_at", value: func(r Release) string { return decimal(r.Uploaded.At) }, number: true}},
}

// Releases returns a page of all releases, or of a product's, by digest or in the order uploaded.
func (s *Store) Releases(ctx context.Context, product string, p Page) (List[Release], error) {
	var c condition
	c.equal("product", product)
	l, err := list(ctx, s.readers, releaseColumns, releasesBy, c, p, scanRelease)
	if err != nil {
		return l, err
	}
	for i := range l.Items {
		if l.Items[i].Missing, err = missing(ctx, s.readers, l.Items[i].ID); err != nil {
			return l, err
		}
	}
	return l, nil
}

// RemoveRelease removes a release and its images. The error is [ErrState] if there is a campaign with it.
func (s *Store) RemoveRelease(ctx context.Context, id manifest.Digest, by By) error {
	return s.act(ctx, func(tx *sql.Tx) error {
		var used int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM campaigns WHERE release_id = $1`, id.String()).Scan(&used); err != nil {
			return err
		}
		if used > 0 {
			return fmt.Errorf("%w: release %s has %d campaigns", ErrState, id, used)
		}
		contents, err := collect(ctx, tx, `SELECT content FROM images WHERE release_id = $1 AND content IS NOT NULL`, []any{id.String()}, func(row scanner) (content string, err error) {
			return content, row.Scan(&content)
		})
		if err != nil {
			return err
		}
		r, err := tx.ExecContext(ctx, `DELETE FROM releases WHERE id = $1`, id.String())
		if err := one(r, err, fmt.Errorf("%w: release %s", ErrNotFound, id)); err != nil {
			return err
		}
		for _, content := range contents {
			if _, err := tx.ExecContext(ctx, `DELETE FROM contents WHERE id = $1`, content); err != nil {
				return err
			}
		}
		return by.record(ctx, tx, "release.remove", id.String(), "", nil)
	})
}
