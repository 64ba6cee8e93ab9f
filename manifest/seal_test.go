package manifest

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

// sealedManifest is a release of which the second image is sealed, and the third.
func sealedManifest(t testing.TB) *Manifest {
	m := fullManifest(t)
	im, _ := testImage(t, "boot.bin", 70_000, 3)
	m.Images = append(m.Images, im)
	for i, size := range map[int]int64{1: 4_000_000, 2: 69_000} {
		m.Images[i].Sealed = &Sealed{Size: size, SHA256: Digest{byte(i)}, Header: []byte("a header")}
	}
	return m
}

// TestSealedRoundTrip: what the manifest says of sealed images is signed, and read as it was written.
func TestSealedRoundTrip(t *testing.T) {
	key := testKey(t, RoleRelease, 1)
	bare := smallManifest(t) // without other extensions
	bare.Images[0].Sealed = &Sealed{Size: 99_000, SHA256: Digest{9}, Header: []byte{1}}
	for _, m := range []*Manifest{sealedManifest(t), bare} {
		device := testDevice()
		device.Extensions = []string{"com.example.must", ExtensionSealed}
		got, err := Open(mustSign(t, m, key), trust(1, key), device)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Fatalf("opened\n%+v, %v; want\n%+v", got, err, m)
		}
		if got.Digest() != m.Digest() || m.Digest() == (Digest{}) {
			t.Error("the digest of the opened manifest is another one")
		}
		for i, im := range got.Images {
			size, digest := im.Plain()
			want, wantDigest := im.Size, im.SHA256
			if im.Sealed != nil {
				want, wantDigest = m.Images[i].Sealed.Size, m.Images[i].Sealed.SHA256
			}
			if size != want || digest != wantDigest {
				t.Errorf("image %d: a plaintext of %d bytes, want %d", i, size, want)
			}
		}
	}
	if n := len(sealedManifest(t).Sealed()); n != 2 {
		t.Errorf("%d sealed images, want 2", n)
	}
	m := sealedManifest(t)
	plain := fullManifest(t)
	m.encode()
	if !reflect.DeepEqual(m.Extensions, plain.Extensions) || !reflect.DeepEqual(m.Critical, plain.Critical) {
		t.Error("to encode a manifest has changed it")
	}
}

// TestSealedManifestIsRefused goes through what no manifest may say.
func TestSealedManifestIsRefused(t *testing.T) {
	for name, change := range map[string]func(m *Manifest){
		"no plaintext":         func(m *Manifest) { m.Images[1].Sealed.Size = 0 },
		"longer than sealed":   func(m *Manifest) { m.Images[1].Sealed.Size = m.Images[1].Size },
		"no header":            func(m *Manifest) { m.Images[1].Sealed.Header = nil },
		"a long header":        func(m *Manifest) { m.Images[1].Sealed.Header = make([]byte, MaxSealHeader+1) },
		"extension by hand":    func(m *Manifest) { m.Extensions[ExtensionSealed] = []byte{0x80} },
		"critical, by its own": func(m *Manifest) { m.Critical = append(m.Critical, ExtensionSealed) },
	} {
		m := sealedManifest(t)
		change(m)
		if _, err := m.encode(); err == nil {
			t.Errorf("%s: was encoded", name)
		}
	}
}

// TestAttackStrippedSeal: whoever takes away that images are sealed, or that this is critical, needs the release key; and a
// program that signs such a thing by mistake is not believed either. A device that does not know sealed images refuses them.
func TestAttackStrippedSeal(t *testing.T) {
	key := testKey(t, RoleRelease, 1)
	m := sealedManifest(t)
	signed := mustSign(t, m, key)
	payload, signatures, err := splitFile(signed)
	if err != nil {
		t.Fatal(err)
	}
	plain := sealedManifest(t)
	for i := range plain.Images {
		plain.Images[i].Sealed = nil
	}
	stripped, err := plain.encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSigned(joinFile(stripped, signatures), trust(1, key)); !errors.Is(err, ErrSignature) {
		t.Errorf("without the extension: %v, want ErrSignature", err)
	}
	var w wireManifest
	if err := decMode.Unmarshal(payload, &w); err != nil {
		t.Fatal(err)
	}
	critical := w.Critical
	for name, list := range map[string][]string{"not critical": critical[:len(critical)-1], "not the last": {critical[1], critical[0]}} {
		w.Critical = list
		again, err := encMode.Marshal(&w)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decode(again); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s, though signed: %v, want ErrMalformed", name, err)
		}
	}
	device := testDevice()
	device.Extensions = []string{"com.example.must"}
	if _, err := Open(signed, trust(1, key), device); !errors.Is(err, ErrUnsupported) {
		t.Errorf("a device of before there were sealed images: %v, want ErrUnsupported", err)
	}
}

// TestSealedExtensionIsExact: what the extension holds has one encoding.
func TestSealedExtensionIsExact(t *testing.T) {
	m := sealedManifest(t)
	var w wireManifest
	payload, err := m.encode()
	if err == nil {
		err = decMode.Unmarshal(payload, &w)
	}
	if err != nil {
		t.Fatal(err)
	}
	var list []wireSealed
	if err := decMode.Unmarshal(w.Extensions[ExtensionSealed], &list); err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	enc := func(list []wireSealed) []byte { return must(encMode.Marshal(list)) }
	short := bytes.Clone(list[0].SHA256)[:31]
	for name, content := range map[string][]byte{
		"empty":                 {0x80},
		"no CBOR":               {0xff},
		"longer than it has to": append([]byte{0x98, 2}, enc(list)[1:]...),
		"another order":         enc([]wireSealed{list[1], list[0]}),
		"an image twice":        enc([]wireSealed{list[0], list[0]}),
		"no such image":         enc([]wireSealed{{Image: 3, Size: 5, SHA256: list[0].SHA256, Header: list[0].Header}}),
		"below the first image": enc([]wireSealed{{Image: -1, Size: 5, SHA256: list[0].SHA256, Header: list[0].Header}}),
		"a short hash":          enc([]wireSealed{{Image: 1, Size: 5, SHA256: short, Header: list[0].Header}}),
	} {
		w.Extensions[ExtensionSealed] = content
		if _, err := decode(must(encMode.Marshal(&w))); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
}
