package manifest

import (
	"bytes"
	"testing"
)

// FuzzOpen: whatever a file holds, only one with the signed payload opens, and never a panic.
func FuzzOpen(f *testing.F) {
	a, b := testKey(f, RoleRelease, 1), testKey(f, RoleRelease, 2)
	m := fullManifest(f)
	payload, err := m.encode()
	if err != nil {
		f.Fatal(err)
	}
	signed := mustSign(f, m, a, b)
	f.Add(signed)
	f.Add(signed[:len(signed)-1])
	f.Add(joinFile(payload, nil))
	f.Fuzz(func(t *testing.T, file []byte) {
		if _, err := OpenSigned(file, trust(2, a, b)); err == nil {
			got, _, _ := splitFile(file)
			if !bytes.Equal(got, payload) {
				t.Errorf("opens with a payload that nobody signed: %x", got)
			}
		}
		if p, s, err := splitFile(file); err == nil && !bytes.Equal(joinFile(p, s), file) {
			t.Errorf("%x is taken apart and joined to %x", file, joinFile(p, s))
		}
		OpenUnverified(file)
	})
}

// FuzzPayload: what decodes encodes to the same bytes. This is the code behind the signature check.
func FuzzPayload(f *testing.F) {
	for _, m := range []*Manifest{smallManifest(f), fullManifest(f), sealedManifest(f)} {
		payload, err := m.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		m, err := decode(payload)
		if err != nil {
			return
		}
		if again, err := m.encode(); err != nil || !bytes.Equal(again, payload) {
			t.Errorf("%x decodes and encodes to %x, %v", payload, again, err)
		}
		m.Describe()
	})
}

// FuzzSession is FuzzPayload for session descriptions.
func FuzzSession(f *testing.F) {
	sealed := testSession(f)
	sealed.Wraps, sealed.SealDevices = []Wrap{{KeyID{1}, make([]byte, wrapOverhead+16)}}, true
	for _, s := range []*Session{testSession(f), sealed} {
		payload, err := s.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		s, err := decodeSession(payload)
		if err != nil {
			return
		}
		if again, err := s.encode(); err != nil || !bytes.Equal(again, payload) {
			t.Errorf("%x decodes and encodes to %x, %v", payload, again, err)
		}
		s.Describe()
	})
}

// FuzzMessage: of all bytes only the signed message verifies, and never a panic.
func FuzzMessage(f *testing.F) {
	key := testKey(f, RoleDevice, 1)
	signed, err := key.Sign("vote", []byte("ready"))
	if err != nil {
		f.Fatal(err)
	}
	detached, err := key.signDetached("vote", []byte("ready"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed)
	f.Add(detached)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := key.Public().Verify("vote", b); err == nil && !bytes.Equal(b, signed) {
			t.Errorf("%x verifies", b)
		}
	})
}

// FuzzKeyText: the text form of a key is unique too.
func FuzzKeyText(f *testing.F) {
	f.Add(testKey(f, RoleDevice, 1).Public().String())
	f.Add("device:ed25519:")
	f.Fuzz(func(t *testing.T, text string) {
		if k, err := ParsePublicKey(text); err == nil && k.String() != text {
			t.Errorf("%q is read as %q", text, k)
		}
	})
}
