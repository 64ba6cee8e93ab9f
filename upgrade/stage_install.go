package upgrade

import (
	"context"
	"errors"
	"io/fs"

	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/manifest"
)

const currentDir = "current"

// install renames the images of a stage into DIR/current, each in one step, so that under every name stands the old
// image or the new one. It may be called again after a crash and goes on where it was; that it has begun stands in the
// log of the commit.
func install(fsys disk.FS, dir string, m *manifest.Manifest) error {
	if err := fsys.Mkdir(currentDir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := fsys.SyncDir("."); err != nil { // before anything moves there: it would be lost with the directory
		return err
	}
	for i := range m.Images {
		name := m.Images[i].Name
		err := fsys.Rename(imageName(dir, name), currentDir+"/"+name)
		if err != nil && !(errors.Is(err, fs.ErrNotExist) && exists(fsys, currentDir+"/"+name)) {
			return err
		}
	}
	return errors.Join(fsys.SyncDir(currentDir), fsys.SyncDir(dir+"/image"))
}

// installed returns nil if DIR/current holds the images of a release.
func installed(ctx context.Context, fsys disk.FS, m *manifest.Manifest) error {
	_, err := rehash(ctx, fsys, m, func(image string) string { return currentDir + "/" + image })
	return err
}
