package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

func testIdentity(t testing.TB) *Identity {
	t.Helper()
	k, err := GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var testFileKeys = []FileKey{{1, 2, 3}, {4, 5, 6}}

func TestSealKeyFiles(t *testing.T) {
	k, name := testIdentity(t), filepath.Join(t.TempDir(), "phones")
	if err := k.WriteKeyPair(name); err != nil {
		t.Fatal(err)
	}
	got, err := LoadIdentity(name + ".key")
	if err != nil || got.Recipient() != k.Recipient() {
		t.Fatalf("read back: %v, %v", got, err)
	}
	to, err := LoadRecipient(name + ".pub")
	if err != nil || to != k.Recipient() || to.ID() == testIdentity(t).Recipient().ID() {
		t.Fatalf("public half read back: %v, %v", to.Fingerprint(), err)
	}
	wrap, err := to.Wrap(CampaignID{1}, Digest{2}, testFileKeys)
	if err != nil {
		t.Fatal(err)
	}
	if keys, err := got.Unwrap(CampaignID{1}, Digest{2}, wrap); err != nil || !reflect.DeepEqual(keys, testFileKeys) {
		t.Errorf("what the public half has wrapped, the private one does not unwrap: %v", err)
	}
	if err := k.WriteKeyPair(name); !errors.Is(err, fs.ErrExist) {
		t.Errorf("written again: %v, want that it exists", err)
	}
	for path, load := range map[string]func(string) error{
		name + ".pub": func(p string) error { _, err := LoadIdentity(p); return err },
		name + ".key": func(p string) error { _, err := LoadRecipient(p); return err },
	} {
		if err := load(path); !errors.Is(err, ErrKeyFormat) {
			t.Errorf("%s for the other half: %v, want ErrKeyFormat", path, err)
		}
	}
	if _, err := LoadPublicKey(name+".pub", RoleServer); err == nil {
		t.Error("a seal key was taken for a server key")
	}
	if runtime.GOOS != "windows" {
		os.Chmod(name+".key", 0o640)
		if _, err := LoadIdentity(name + ".key"); !errors.Is(err, ErrKeyExposed) {
			t.Errorf("readable by the group: %v, want ErrKeyExposed", err)
		}
	}
}

func TestFileKeysFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fw.seal")
	if err := WriteFileKeys(path, testFileKeys); err != nil {
		t.Fatal(err)
	}
	if got, err := LoadFileKeys(path); err != nil || !reflect.DeepEqual(got, testFileKeys) {
		t.Errorf("read back: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%s: mode %v, %v; want 0600", path, info.Mode(), err)
	}
	if err := WriteFileKeys(path, testFileKeys); !errors.Is(err, fs.ErrExist) {
		t.Errorf("written again: %v, want that it exists", err)
	}
	for _, load := range []func() error{
		func() error { _, err := LoadIdentity(path); return err },
		func() error { _, err := LoadGroupKey(path); return err },
	} {
		if err := load(); !errors.Is(err, ErrKeyRole) {
			t.Errorf("for a key of another kind: %v, want ErrKeyRole", err)
		}
	}
}

func TestSealSecretsAreNotPrinted(t *testing.T) {
	key, k := FileKey([]byte(strings.Repeat("K", 16))), testIdentity(t)
	secret, err := k.key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		got := fmt.Sprintf(verb, struct{ Keys []FileKey }{[]FileKey{key}})
		if strings.Contains(got, "KKKK") || strings.Contains(got, "4b4b") || strings.Contains(got, "75 75") {
			t.Errorf("%s prints a file key: %s", verb, got)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, k); strings.Contains(got, string(secret)) || !strings.Contains(got, k.Recipient().String()) {
			t.Errorf("%s prints %s", verb, got)
		}
	}
}

// TestAttackWrapOfAnother: a wrap opens for the key, the campaign and the release it was made for, and no bit of it can be
// changed.
func TestAttackWrapOfAnother(t *testing.T) {
	k := testIdentity(t)
	campaign, release := CampaignID{1}, Digest{2}
	wrap, err := k.Recipient().Wrap(campaign, release, testFileKeys)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.Unwrap(campaign, release, wrap); err != nil || !reflect.DeepEqual(got, testFileKeys) {
		t.Fatalf("the right one: %v", err)
	}
	for name, open := range map[string]func() ([]FileKey, error){
		"another key":      func() ([]FileKey, error) { return testIdentity(t).Unwrap(campaign, release, wrap) },
		"another campaign": func() ([]FileKey, error) { return k.Unwrap(CampaignID{2}, release, wrap) },
		"another release":  func() ([]FileKey, error) { return k.Unwrap(campaign, Digest{3}, wrap) },
		"cut off":          func() ([]FileKey, error) { return k.Unwrap(campaign, release, wrap[:len(wrap)-1]) },
		"cut to one key":   func() ([]FileKey, error) { return k.Unwrap(campaign, release, wrap[:len(wrap)-16]) },
		"nothing":          func() ([]FileKey, error) { return k.Unwrap(campaign, release, nil) },
	} {
		if got, err := open(); !errors.Is(err, ErrNoKey) || got != nil {
			t.Errorf("%s: %v, want ErrNoKey", name, err)
		}
	}
	for _, i := range []int{0, 1087, 1088, 1119, 1120, len(wrap) - 1} { // of each part
		wrong := bytes.Clone(wrap)
		wrong[i] ^= 1
		if _, err := k.Unwrap(campaign, release, wrong); !errors.Is(err, ErrNoKey) {
			t.Errorf("byte %d changed: %v, want ErrNoKey", i, err)
		}
	}
}

// TestSessionWithWraps: a session description carries wraps for 64 groups, of 16 keys each, and no more.
func TestSessionWithWraps(t *testing.T) {
	server, k := testKey(t, RoleServer, 3), testIdentity(t)
	s := testSession(t)
	s.SealDevices = true
	wrap, err := k.Recipient().Wrap(s.Campaign, s.Manifest, make([]FileKey, MaxImages))
	if err != nil {
		t.Fatal(err)
	}
	for i := range MaxWraps {
		s.Wraps = append(s.Wraps, Wrap{KeyID{byte(i)}, wrap})
	}
	s.Target = strings.Repeat("t", 256)
	s.Report = "https://" + strings.Repeat("r", 500)
	signed := signSession(t, s, server)
	t.Logf("%d bytes, of %d", len(signed), MaxSession)
	got, err := OpenSession(signed, server.Public(), nil, testNow)
	if err != nil || !reflect.DeepEqual(got, s) {
		t.Fatalf("opened %v", err)
	}
	for name, change := range map[string]func(s *Session){
		"65 groups":   func(s *Session) { s.Wraps = append(s.Wraps, Wrap{KeyID{99}, wrap}) },
		"one twice":   func(s *Session) { s.Wraps[1].To = s.Wraps[0].To },
		"of no key":   func(s *Session) { s.Wraps[0].Keys = wrap[:wrapOverhead] },
		"of half one": func(s *Session) { s.Wraps[0].Keys = wrap[:wrapOverhead+8] },
		"of 17":       func(s *Session) { s.Wraps[0].Keys = append(bytes.Clone(wrap), wrap[:16]...) },
	} {
		s := *s
		s.Wraps = append([]Wrap(nil), s.Wraps...)
		change(&s)
		if _, err := s.Sign(server); err == nil {
			t.Errorf("%s: was signed", name)
		}
	}
	plain := testSession(t)
	if s.format() != sealFormat || plain.format() != formatVersion {
		t.Errorf("versions %d and %d", s.format(), plain.format())
	}
}

// FuzzRecipientText: the text form of a seal key is unique.
func FuzzRecipientText(f *testing.F) {
	f.Add(testIdentity(f).Recipient().String())
	f.Add("seal:mlkem768x25519:AAAA")
	f.Add("server:ed25519:AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		if r, err := ParseRecipient(text); err == nil && r.String() != text {
			t.Errorf("%q is read as %q", text, r)
		}
	})
}

// FuzzUnwrap: of all bytes only the wrap opens, and never a panic.
func FuzzUnwrap(f *testing.F) {
	k := testIdentity(f)
	wrap, err := k.Recipient().Wrap(CampaignID{1}, Digest{2}, testFileKeys)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wrap)
	f.Add(wrap[:len(wrap)-16])
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := k.Unwrap(CampaignID{1}, Digest{2}, b); (err == nil) != bytes.Equal(b, wrap) {
			t.Errorf("%x: %v", b, err)
		}
	})
}
