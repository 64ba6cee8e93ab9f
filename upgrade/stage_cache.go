package upgrade

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/manifest"
)

// maxCached is how many stages beside those in use stay for their leaves.
const maxCached = 1

// others returns the stages that are neither dir nor kept, the youngest first.
func others(fsys disk.FS, dir string, kept map[string]bool) ([]string, error) {
	entries, err := fsys.ReadDir(stagesDir)
	if err != nil {
		return nil, err
	}
	type aged struct {
		dir string
		at  int64
	}
	var all []aged
	for _, e := range entries {
		name := stagesDir + "/" + e.Name()
		if name == dir || kept[name] {
			continue
		}
		var at int64
		if info, err := fsys.Stat(name + "/release"); err == nil {
			at = info.ModTime().UnixNano()
		}
		all = append(all, aged{name, at})
	}
	slices.SortStableFunc(all, func(a, b aged) int { return int(max(-1, min(1, b.at-a.at))) })
	var dirs []string
	for _, a := range all {
		dirs = append(dirs, a.dir)
	}
	return dirs, nil
}

// pruneStages leaves at most so many stages beside dir and the kept ones, the youngest.
func pruneStages(fsys disk.FS, dir string, kept map[string]bool, most int) error {
	dirs, err := others(fsys, dir, kept)
	for i := most; err == nil && i < len(dirs); i++ {
		err = removeTree(fsys, dirs[i])
	}
	return err
}

// adoptOld takes the files of other releases for images that have none yet: leaves that stand at the same place in both
// need not come again. A file is renamed, so that it takes no room twice.
func adoptOld(fsys disk.FS, dir string, m *manifest.Manifest, kept map[string]bool) error {
	dirs, err := others(fsys, dir, kept)
	if err != nil {
		return err
	}
	for i := range m.Images {
		name := m.Images[i].Name
		if m.Images[i].Sealed != nil || exists(fsys, partName(dir, name)) {
			continue // each release is sealed with keys of its own, so that no leaf is as it was
		}
		for _, old := range dirs {
			from := locate(fsys, old, name)
			err := fsys.Rename(from, partName(dir, name))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			break
		}
	}
	return fsys.SyncDir(dir + "/part")
}
