package manifest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
)

// ExtensionSealed names the critical extension of a release whose images are sealed, which is to say encrypted: a device
// that does not know it refuses the release, in place of installing ciphertext.
const ExtensionSealed = "sealed-images"

// SealedSuffix stands behind an image's name in that of the file it is sealed in.
const SealedSuffix = ".age"

// MaxSealHeader bounds Sealed.Header, in bytes.
const MaxSealHeader = 1 << 10

// A Sealed says of an image that it is encrypted: what is distributed is a file in the age format (age-encryption.org/v1),
// and Image's Size, SHA256 and tree are those of that file.
type Sealed struct {
	Size   int64  // of the plaintext, in bytes, at least 1
	SHA256 Digest // of the plaintext
	Header []byte // that the file begins with: it tells the right file key from a wrong one before a byte is received
}

// Plain returns the length and the SHA-256 of what a device activates: of the plaintext, if the image is sealed.
func (im *Image) Plain() (size int64, digest Digest) {
	if im.Sealed != nil {
		return im.Sealed.Size, im.Sealed.SHA256
	}
	return im.Size, im.SHA256
}

// Sealed returns the images that are sealed, in the order of the manifest: that of their file keys.
func (m *Manifest) Sealed() (sealed []*Image) {
	for i := range m.Images {
		if m.Images[i].Sealed != nil {
			sealed = append(sealed, &m.Images[i])
		}
	}
	return sealed
}

// ImageOf returns the name of the image that a file of the given name holds: its own, or that of the image sealed in it.
func (m *Manifest) ImageOf(file string) string {
	for _, im := range m.Sealed() {
		if file == im.Name+SealedSuffix {
			return im.Name
		}
	}
	return file
}

func (s *Sealed) validate(im *Image) error {
	switch {
	case s.Size < 1 || s.Size >= im.Size:
		return fmt.Errorf("%s: a plaintext of %d bytes in %d, want at least 1 and less than the image", im.Name, s.Size, im.Size)
	case len(s.Header) < 1 || len(s.Header) > MaxSealHeader:
		return fmt.Errorf("%s: a seal header of %d bytes, want 1 to %d", im.Name, len(s.Header), MaxSealHeader)
	}
	return nil
}

// A wireSealed is one element of the extension's CBOR array: what is said of the image at an index.
type wireSealed struct {
	Image  int    `cbor:"0,keyasint"`
	Size   int64  `cbor:"1,keyasint"`
	SHA256 []byte `cbor:"2,keyasint"`
	Header []byte `cbor:"3,keyasint"`
}

// putSealed writes what is sealed into the extensions, as the last critical one.
func (w *wireManifest) putSealed(m *Manifest) error {
	var list []wireSealed
	for i, im := range m.Images {
		if s := im.Sealed; s != nil {
			list = append(list, wireSealed{Image: i, Size: s.Size, SHA256: s.SHA256[:], Header: s.Header})
		}
	}
	if list == nil {
		return nil
	}
	content, err := encMode.Marshal(list)
	if err != nil {
		return err
	}
	w.Extensions = maps.Clone(w.Extensions)
	if w.Extensions == nil {
		w.Extensions = map[string][]byte{}
	}
	w.Extensions[ExtensionSealed] = content
	w.Critical = append(slices.Clip(w.Critical), ExtensionSealed)
	return nil
}

// takeSealed is the inverse of putSealed. A manifest that has the extension elsewhere, or lets devices do without it, is
// malformed: they would install what cannot run.
func (m *Manifest) takeSealed() error {
	content, ok := m.Extensions[ExtensionSealed]
	if !ok {
		return nil
	}
	last := len(m.Critical) - 1
	if last < 0 || m.Critical[last] != ExtensionSealed {
		return fmt.Errorf("%w: extension %s is not the last critical one", ErrMalformed, ExtensionSealed)
	}
	var list []wireSealed
	if err := decMode.Unmarshal(content, &list); err != nil {
		return fmt.Errorf("%w: extension %s: %w", ErrMalformed, ExtensionSealed, err)
	}
	if again, err := encMode.Marshal(list); err != nil || !bytes.Equal(again, content) || len(list) == 0 {
		return fmt.Errorf("%w: extension %s is not in deterministic encoding, or empty", ErrMalformed, ExtensionSealed)
	}
	next := 0
	for _, s := range list {
		if s.Image < next || s.Image >= len(m.Images) || len(s.SHA256) != len(Digest{}) {
			return fmt.Errorf("%w: extension %s", ErrMalformed, ExtensionSealed)
		}
		m.Images[s.Image].Sealed = &Sealed{Size: s.Size, SHA256: Digest(s.SHA256), Header: s.Header}
		next = s.Image + 1
	}
	delete(m.Extensions, ExtensionSealed)
	if len(m.Extensions) == 0 {
		m.Extensions = nil
	}
	if m.Critical = m.Critical[:last]; last == 0 {
		m.Critical = nil
	}
	return nil
}
