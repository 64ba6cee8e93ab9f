package upgrade

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/merkle"
)

// sealedName is where a sealed image lies as it was received; its plaintext has the names that other images have. The
// ciphertext stays, because leaves that are verified need not come again, to this device or through it to another.
func sealedName(dir, image string) string { return dir + "/sealed/" + image }

// receivedName returns where an image is received.
func receivedName(fsys disk.FS, dir string, im *manifest.Image) string {
	if im.Sealed != nil {
		return sealedName(dir, im.Name)
	}
	return locate(fsys, dir, im.Name)
}

// plainSpace returns how many bytes of the directory the plaintext of a sealed image will need. The error is errNoSpace if it
// goes to a slot that is too small.
func (s *stage) plainSpace(im *manifest.Image) (int64, error) {
	if exists(s.fs, imageName(s.dir, im.Name)) {
		return 0, nil
	}
	file, err := s.fs.OpenFile(partName(s.dir, im.Name), openReadWrite, 0o600)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	if slot, ok := file.(*slotFile); ok {
		return 0, slot.fits()
	}
	return im.Sealed.Size, nil
}

// unseal decrypts the sealed images of a stage: what was received, read from storage once, is hashed and decrypted in one
// pass. So it ends with an error if the storage has anything else than what was signed, or the key opens it wrongly; that the
// plaintext is what was signed is found out by rehash, from storage again. It may be called again after a crash.
func unseal(ctx context.Context, fsys disk.FS, dir string, m *manifest.Manifest, keys []manifest.FileKey, u Unsealer) error {
	for i, im := range m.Sealed() {
		if err := unsealImage(ctx, fsys, dir, im, keys[i], u); err != nil {
			return err
		}
	}
	return nil
}

func unsealImage(ctx context.Context, fsys disk.FS, dir string, im *manifest.Image, key manifest.FileKey, u Unsealer) error {
	src, err := openFresh(fsys, sealedName(dir, im.Name))
	if err != nil {
		return err
	}
	defer src.Close()
	size, err := src.Size()
	if err != nil {
		return err
	}
	tree := merkle.NewWriter(im.LeafSize)
	all := io.TeeReader(io.NewSectionReader(src, 0, size), io.MultiWriter(tree, cancelled{ctx}))
	if !exists(fsys, imageName(dir, im.Name)) { // else it was decrypted and verified before a crash
		err = decryptTo(fsys, partName(dir, im.Name), im.Sealed.Size, all, key, u)
	}
	if err != nil && !errors.Is(err, errStageWrong) {
		return err
	}
	if _, err := io.Copy(io.Discard, all); err != nil { // what was not decrypted is hashed too
		return err
	}
	if size != im.Size || merkle.Root(tree.Leaves()) != im.Root {
		return fmt.Errorf("%w: %s, as it was received", errStageWrong, im.Name)
	}
	return err
}

// decryptTo writes the plaintext of what it reads to a file, durably. The error is errStageWrong if there is none of so many
// bytes at most.
func decryptTo(fsys disk.FS, name string, size int64, ciphertext io.Reader, key manifest.FileKey, u Unsealer) error {
	plain, err := u.Open(ciphertext, key)
	if err != nil {
		return fmt.Errorf("%w: %w", errStageWrong, err)
	}
	dst, err := fsys.OpenFile(name, openReadWrite, 0o600)
	if err != nil {
		return err
	}
	defer dst.Close()
	if err := dst.Truncate(size); err != nil {
		return err
	}
	w := &fallible{w: io.NewOffsetWriter(dst, 0)}
	_, err = io.CopyBuffer(w, io.LimitReader(plain, size), make([]byte, 64<<10))
	if w.err != nil {
		return w.err
	}
	if rest, end := io.Copy(io.Discard, plain); err == nil && (end != nil || rest > 0) {
		err = cmp.Or(end, errors.New("the plaintext is longer than what was signed"))
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errStageWrong, err)
	}
	return dst.Sync()
}

// A fallible writer keeps its error apart from that of what is read.
type fallible struct {
	w   io.Writer
	err error
}

func (f *fallible) Write(p []byte) (n int, err error) {
	n, f.err = f.w.Write(p)
	return n, f.err
}
