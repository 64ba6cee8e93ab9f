package upgrade

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/merkle"
)

// errStageWrong is returned when the storage does not hold what the manifest says.
var errStageWrong = errors.New("the storage does not hold the image that was signed")

// rehash reads the images of a stage from storage and returns their roots: READY always means roots recomputed from
// storage. Of a sealed image it is the plaintext that is read, as unseal has recomputed the root of what was received. The
// error is errStageWrong if one of them is not the image that was signed.
func rehash(ctx context.Context, fsys disk.FS, m *manifest.Manifest, where func(image string) string) (roots []commit.Digest, err error) {
	for i := range m.Images {
		im := &m.Images[i]
		tree, sum := merkle.NewWriter(im.LeafSize), sha256.New()
		proof := io.MultiWriter(tree, sum, cancelled{ctx})
		if im.Sealed != nil { // the tree is that of the ciphertext
			proof = io.MultiWriter(sum, cancelled{ctx})
		}
		size, err := copyFile(fsys, where(im.Name), proof)
		if err != nil {
			return nil, err
		}
		wantSize, want := im.Plain()
		if size != wantSize || manifest.Digest(sum.Sum(nil)) != want || im.Sealed == nil && merkle.Root(tree.Leaves()) != im.Root {
			return nil, fmt.Errorf("%w: %s", errStageWrong, im.Name)
		}
		roots = append(roots, commit.Digest(im.Root))
	}
	return roots, nil
}

// promote gives the images of a stage the names that only verified ones have, durably.
func promote(fsys disk.FS, dir string, m *manifest.Manifest) error {
	for i := range m.Images {
		name := m.Images[i].Name
		if exists(fsys, imageName(dir, name)) {
			continue
		}
		if err := fsys.Rename(partName(dir, name), imageName(dir, name)); err != nil {
			return err
		}
	}
	return errors.Join(fsys.SyncDir(dir+"/image"), fsys.SyncDir(dir+"/part"), fsys.SyncDir(dir), fsys.SyncDir(stagesDir))
}

// A cancelled writer ends a copy when its context ends.
type cancelled struct{ ctx context.Context }

func (c cancelled) Write(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	return len(p), nil
}
