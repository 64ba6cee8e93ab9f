package upgrade

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/manifest"
)

const (
	stagesDir = "stage"
	// spaceMargin is left free beside a stage, for logs and the file system's own needs.
	spaceMargin = 1 << 20
)

var errNoSpace = errors.New("not enough free space")

// A stage is a release as it is gathered on storage. Its methods may be called from several goroutines.
type stage struct {
	fs     disk.FS
	dir    string
	m      *manifest.Manifest
	kept   map[string]bool // stages that must not be touched
	images []*stagedImage
	hashes *hashList
	closed bool
}

// stageDir returns where the stage of a release lies.
func stageDir(digest manifest.Digest) string { return stagesDir + "/" + hex.EncodeToString(digest[:8]) }

// partName is where an image lies until it is verified from storage.
func partName(dir, image string) string { return dir + "/part/" + image }

// imageName is where it lies from then on.
func imageName(dir, image string) string { return dir + "/image/" + image }

// openStage opens the stage of a release for reception, making it if needed, and finds out which of its leaves are good
// already. The signed documents are stored with it. Kept are stages that must not be touched. The error is errNoSpace
// if what is missing does not fit.
func openStage(fsys disk.FS, m *manifest.Manifest, release, session []byte, kept map[string]bool) (*stage, error) {
	s := &stage{fs: fsys, dir: stageDir(m.Digest()), m: m, kept: kept}
	if err := s.makeDirs(); err != nil {
		return nil, err
	}
	if !kept[s.dir] {
		if err := demote(fsys, s.dir, m); err != nil {
			return nil, err
		}
		if err := adoptOld(fsys, s.dir, m, kept); err != nil {
			return nil, err
		}
	}
	if err := pruneStages(fsys, s.dir, kept, maxCached); err != nil {
		return nil, err
	}
	if err := disk.WriteFile(fsys, s.dir+"/release", release, 0o600); err != nil {
		return nil, err
	}
	if err := disk.WriteFile(fsys, s.dir+"/session", session, 0o600); err != nil {
		return nil, err
	}
	if err := s.openFiles(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *stage) makeDirs() error {
	dirs := []string{stagesDir, s.dir, s.dir + "/part", s.dir + "/image"}
	if len(s.m.Sealed()) > 0 {
		dirs = append(dirs, path.Dir(sealedName(s.dir, "")))
	}
	for _, dir := range dirs {
		if err := s.fs.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return errors.Join(s.fs.SyncDir("."), s.fs.SyncDir(stagesDir), s.fs.SyncDir(s.dir))
}

// openFiles opens the hash list and the images, checks what they hold, and that the rest fits.
func (s *stage) openFiles() (err error) {
	if s.hashes, err = openHashList(s.fs, s.dir+"/hashes", s.m); err != nil {
		return err
	}
	for i := range s.m.Images {
		im, err := openImage(s.fs, s.dir, &s.m.Images[i])
		if err != nil {
			return err
		}
		s.images = append(s.images, im)
	}
	if err := s.recheck(); err != nil {
		return err
	}
	err = s.checkSpace()
	if errors.Is(err, errNoSpace) && pruneStages(s.fs, s.dir, s.kept, 0) == nil {
		err = s.checkSpace() // leaves of other releases are not worth refusing this one
	}
	return err
}

// recheck finds out which leaves are good already, as far as their hashes are here.
func (s *stage) recheck() error {
	for piece, hashes := range s.hashes.known() {
		if _, err := s.expect(piece, hashes); err != nil {
			return err
		}
	}
	for _, im := range s.images {
		if !im.old {
			continue
		}
		if err := im.recheck(context.Background(), func([]leafEvent) {}); err != nil {
			return err
		}
		im.old = !s.hashes.complete()
	}
	return nil
}

// checkSpace returns errNoSpace if the leaves that are missing do not fit.
func (s *stage) checkSpace() error {
	free, err := s.fs.Free()
	if err != nil {
		return err
	}
	need := s.m.HashListSize() + spaceMargin
	for _, im := range s.images {
		if im.entry.Sealed != nil {
			plain, err := s.plainSpace(im.entry)
			if err != nil {
				return err
			}
			need += plain
		}
		if slot, ok := im.file.(*slotFile); ok {
			if err := slot.fits(); err != nil {
				return err
			}
			continue
		}
		need += im.entry.Size - im.verifiedBytes()
	}
	if need > free {
		return fmt.Errorf("%w: %d bytes are needed, %d are free", errNoSpace, need, free)
	}
	for _, im := range s.images {
		if err := im.file.Truncate(im.entry.Size); err != nil { // sparse, where the file system can
			return err
		}
	}
	return nil
}

// expect gives the images the leaf hashes of a piece.
func (s *stage) expect(p manifest.Piece, hashes []hash) ([]leafEvent, error) {
	return s.images[p.Image].expect(p.First, hashes)
}

// progress returns how many bytes are verified, of how many.
func (s *stage) progress() (have, total int64) {
	for _, im := range s.images {
		have += im.verifiedBytes()
		total += im.entry.Size
	}
	return have, total
}

// whole reports whether every leaf is verified.
func (s *stage) whole() bool {
	for _, im := range s.images {
		if !im.done() {
			return false
		}
	}
	return true
}

// sync makes what was received durable.
func (s *stage) sync() error {
	err := s.hashes.file.Sync()
	for _, im := range s.images {
		err = errors.Join(err, im.file.Sync(), s.fs.SyncDir(path.Dir(receivedName(s.fs, s.dir, im.entry))))
	}
	return errors.Join(err, s.fs.SyncDir(s.dir))
}

// close closes the files; again, it does nothing.
func (s *stage) close() (err error) {
	if s.closed {
		return nil
	}
	s.closed = true
	for _, im := range s.images {
		err = errors.Join(err, im.file.Close())
	}
	if s.hashes != nil {
		err = errors.Join(err, s.hashes.file.Close())
	}
	return err
}

// locate returns where an image lies now: verified or on its way.
func locate(fsys disk.FS, dir, image string) string {
	if name := imageName(dir, image); exists(fsys, name) {
		return name
	}
	return partName(dir, image)
}

func exists(fsys disk.FS, name string) bool {
	_, err := fsys.Stat(name)
	return err == nil
}

// demote takes a stage's images from under the name that only verified ones have. Of sealed ones the plaintext is removed.
func demote(fsys disk.FS, dir string, m *manifest.Manifest) error {
	moved := false
	for i := range m.Images {
		name := m.Images[i].Name
		if m.Images[i].Sealed != nil {
			for _, plain := range []string{imageName(dir, name), partName(dir, name)} {
				err := fsys.Remove(plain)
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
				moved = moved || err == nil
			}
			continue
		}
		if !exists(fsys, imageName(dir, name)) {
			continue
		}
		if err := fsys.Rename(imageName(dir, name), partName(dir, name)); err != nil {
			return err
		}
		moved = true
	}
	if !moved {
		return nil
	}
	return errors.Join(fsys.SyncDir(dir+"/image"), fsys.SyncDir(dir+"/part"))
}

// readStage returns the signed documents of a stage.
func readStage(fsys disk.FS, dir string) (release, session []byte, err error) {
	if release, err = disk.ReadFile(fsys, dir+"/release", manifest.MaxFile); err != nil {
		return nil, nil, err
	}
	session, err = disk.ReadFile(fsys, dir+"/session", manifest.MaxSession)
	return release, session, err
}

// removeTree removes a directory with all that is in it; that it is not there is no error.
func removeTree(fsys disk.FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if e.IsDir() {
			err = removeTree(fsys, name)
		} else {
			err = fsys.Remove(name)
		}
		if err != nil {
			return err
		}
	}
	return fsys.Remove(dir)
}

const openReadWrite = os.O_RDWR | os.O_CREATE
