package seal

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"

	"github.com/multicast-upgrade/tool/manifest"
)

// ErrKey is returned for a file key that is not the one an image was sealed with.
var ErrKey = errors.New("not the file key of this image")

// stanzaType is what stands in the place of a wrapped file key in the header of a sealed image.
const stanzaType = "multicast-upgrade-campaign"

// A keeper is the only recipient of a sealed image: it keeps the file key, and writes down that it comes another way.
type keeper struct{ key manifest.FileKey }

func (k *keeper) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	if copy(k.key[:], fileKey) != len(k.key) || len(fileKey) != len(k.key) {
		return nil, fmt.Errorf("seal: a file key of %d bytes", len(fileKey))
	}
	return []*age.Stanza{{Type: stanzaType}}, nil
}

// Encrypt reads an image to its end and writes it, sealed with a file key of its own, to w. It returns that key and what the
// manifest says of the image.
func Encrypt(w io.Writer, plaintext io.Reader) (manifest.FileKey, *manifest.Sealed, error) {
	var k keeper
	head := &first{limit: manifest.MaxSealHeader}
	enc, err := age.Encrypt(io.MultiWriter(w, head), &k)
	if err != nil {
		return k.key, nil, fmt.Errorf("seal: %w", err)
	}
	sum := sha256.New()
	size, err := io.Copy(io.MultiWriter(enc, sum), plaintext)
	if err == nil {
		err = enc.Close()
	}
	if err != nil {
		return k.key, nil, fmt.Errorf("seal: %w", err)
	}
	header, err := age.ExtractHeader(bytes.NewReader(head.b))
	if err != nil {
		return k.key, nil, fmt.Errorf("seal: %w", err)
	}
	return k.key, &manifest.Sealed{Size: size, SHA256: manifest.Digest(sum.Sum(nil)), Header: header}, nil
}

// A first keeps the first bytes that are written to it.
type first struct {
	b     []byte
	limit int
}

func (f *first) Write(p []byte) (int, error) {
	f.b = append(f.b, p[:min(len(p), f.limit-len(f.b))]...)
	return len(p), nil
}

// Check returns nil if a key is the one that an image was sealed with, and otherwise ErrKey: the header's MAC, which is made
// with the file key, tells.
func Check(im *manifest.Sealed, key manifest.FileKey) error {
	if _, err := age.DecryptHeader(im.Header, age.NewInjectedFileKeyIdentity(key[:])); err != nil {
		return fmt.Errorf("%w: %w", ErrKey, err)
	}
	return nil
}

// CheckAll is Check for all sealed images of a release, in their order. The error says that the keys are those of another.
func CheckAll(m *manifest.Manifest, keys []manifest.FileKey) error {
	sealed := m.Sealed()
	if len(keys) != len(sealed) {
		return fmt.Errorf("%w: %d file keys for %d sealed images", ErrKey, len(keys), len(sealed))
	}
	for i, im := range sealed {
		if err := Check(im.Sealed, keys[i]); err != nil {
			return fmt.Errorf("image %s: %w", im.Name, err)
		}
	}
	return nil
}

// Open returns the plaintext of a sealed image. It is authentic as far as it can be read, and whole if it ends with io.EOF; that
// it is what was signed is for the caller to find out.
func Open(ciphertext io.Reader, key manifest.FileKey) (io.Reader, error) {
	plain, err := age.Decrypt(ciphertext, age.NewInjectedFileKeyIdentity(key[:]))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return plain, nil
}

// An Unsealer has Check and Open as methods: what upgrade.AgentConfig wants.
type Unsealer struct{}

// Check is the function of this name.
func (Unsealer) Check(im *manifest.Sealed, key manifest.FileKey) error { return Check(im, key) }

// Open is the function of this name.
func (Unsealer) Open(ciphertext io.Reader, key manifest.FileKey) (io.Reader, error) {
	return Open(ciphertext, key)
}
