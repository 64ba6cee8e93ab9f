package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/veraison/go-cose"
)

// testKey returns the key whose seed is 32 times b.
func testKey(t testing.TB, role Role, b byte) *PrivateKey {
	t.Helper()
	k, err := GenerateKey(role, bytes.NewReader(bytes.Repeat([]byte{b}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSignVerify(t *testing.T) {
	k := testKey(t, RoleServer, 1)
	for _, n := range []int{0, 1, 23, 24, 255, 256, 65535, MaxPayload} {
		payload := bytes.Repeat([]byte{'p'}, n)
		signed, err := k.Sign("test", payload)
		if err != nil {
			t.Fatal(err)
		}
		got, err := k.Public().Verify("test", signed)
		if err != nil || !bytes.Equal(got, payload) {
			t.Errorf("%d bytes: Verify = %d bytes, %v", n, len(got), err)
		}
		if id, ok := SignerID(signed); !ok || id != k.Public().ID() {
			t.Errorf("%d bytes: SignerID = %v, %v, want %v", n, id, ok, k.Public().ID())
		}
		// Any COSE implementation can read the message.
		var m cose.Sign1Message
		if err := m.UnmarshalCBOR(signed); err != nil || !bytes.Equal(m.Payload, payload) {
			t.Errorf("%d bytes: go-cose reads %d bytes, %v", n, len(m.Payload), err)
		}
	}
	if _, err := k.Sign("test", make([]byte, MaxPayload+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("payload too long: %v, want ErrTooLarge", err)
	}
	if _, err := k.Public().Verify("test", make([]byte, MaxSigned+1)); !errors.Is(err, ErrSignature) {
		t.Errorf("message too long: %v, want ErrSignature", err)
	}
}

func TestTamperedMessageRefused(t *testing.T) {
	k := testKey(t, RoleServer, 1)
	signed, err := k.Sign("test", []byte("ready"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range signed {
		for bit := range 8 {
			bad := bytes.Clone(signed)
			bad[i] ^= 1 << bit
			if _, err := k.Public().Verify("test", bad); !errors.Is(err, ErrSignature) {
				t.Errorf("bit %d of byte %d flipped: %v, want ErrSignature", bit, i, err)
			}
		}
		if _, err := k.Public().Verify("test", signed[:i]); !errors.Is(err, ErrSignature) {
			t.Errorf("cut to %d bytes: %v, want ErrSignature", i, err)
		}
	}
	if _, err := k.Public().Verify("test", append(bytes.Clone(signed), 0)); !errors.Is(err, ErrSignature) {
		t.Errorf("trailing byte: %v, want ErrSignature", err)
	}
}

func TestMessageForOtherPurposeRefused(t *testing.T) {
	k := testKey(t, RoleServer, 1)
	signed, _ := k.Sign("session", []byte("x"))
	if _, err := k.Public().Verify("decision", signed); !errors.Is(err, ErrSignature) {
		t.Errorf("other context: %v, want ErrSignature", err)
	}
	if _, err := testKey(t, RoleServer, 2).Public().Verify("session", signed); !errors.Is(err, ErrSignature) {
		t.Errorf("other key: %v, want ErrSignature", err)
	}
	if _, err := (PublicKey{}).Verify("session", signed); !errors.Is(err, ErrSignature) {
		t.Errorf("no key: %v, want ErrSignature", err)
	}
	detached, _ := k.signDetached("session", nil)
	if _, err := k.Public().Verify("session", detached); !errors.Is(err, ErrSignature) {
		t.Errorf("detached signature of nothing as a message of nothing: %v, want ErrSignature", err)
	}
	if err := k.Public().verifyDetached("session", nil, detached); err != nil {
		t.Errorf("detached signature: %v", err)
	}
	if err := k.Public().verifyDetached("session", []byte("x"), signed); !errors.Is(err, ErrSignature) {
		t.Errorf("attached message as detached signature: %v, want ErrSignature", err)
	}
}

// A length written longer than needed encodes the same COSE message, but is not the one that was signed.
func TestLongerLengthRefused(t *testing.T) {
	k := testKey(t, RoleServer, 1)
	signed, _ := k.Sign("test", []byte("ready"))
	at := len(sign1Head) + len(KeyID{}) + len(sign1Unprotected)
	if signed[at] != 0x45 {
		t.Fatalf("byte %d is %#x, want the payload's length", at, signed[at])
	}
	for _, head := range []string{"\x58\x05", "\x59\x00\x05", "\x5a\x00\x00\x00\x05", "\x5b\x00\x00\x00\x00\x00\x00\x00\x05"} {
		bad := append(append(bytes.Clone(signed[:at]), head...), signed[at+1:]...)
		if _, err := k.Public().Verify("test", bad); !errors.Is(err, ErrSignature) {
			t.Errorf("length % x: %v, want ErrSignature", head, err)
		}
	}
}

func TestKeyFiles(t *testing.T) {
	k := testKey(t, RoleRelease, 1)
	name := filepath.Join(t.TempDir(), "release")
	if err := k.WriteKeyPair(name); err != nil {
		t.Fatal(err)
	}
	private, err := LoadPrivateKey(name+".key", RoleRelease)
	if err != nil || !private.key.Equal(k.key) || private.Public() != k.Public() {
		t.Errorf("LoadPrivateKey = %v, %v, want %v", private, err, k)
	}
	public, err := LoadPublicKey(name+".pub", RoleRelease)
	if err != nil || public != k.Public() {
		t.Errorf("LoadPublicKey = %v, %v, want %v", public, err, k.Public())
	}
	if runtime.GOOS != "windows" {
		if info, _ := os.Stat(name + ".key"); info.Mode().Perm() != 0o600 {
			t.Errorf("mode of the private key is %04o, want 0600", info.Mode().Perm())
		}
	}
}

func TestWriteKeyPairNeverOverwrites(t *testing.T) {
	for _, existing := range []string{"release.key", "release.pub"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, existing), []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		err := testKey(t, RoleRelease, 1).WriteKeyPair(filepath.Join(dir, "release"))
		if !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s exists: %v, want fs.ErrExist", existing, err)
		}
		entries, _ := os.ReadDir(dir)
		text, _ := os.ReadFile(filepath.Join(dir, existing))
		if len(entries) != 1 || string(text) != "precious" {
			t.Errorf("%s exists: it now holds %q, with %d files in its folder", existing, text, len(entries))
		}
	}
}

func TestWrongKeyFileRefused(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "server")
	if err := testKey(t, RoleServer, 1).WriteKeyPair(name); err != nil {
		t.Fatal(err)
	}
	secret, _ := os.ReadFile(name + ".key")
	public, _ := os.ReadFile(name + ".pub")
	tests := []struct {
		name, text string
		want       error // of both loaders, asked for a server key
	}{
		{"empty", "", ErrKeyFormat},
		{"comment", "# nothing\n", ErrKeyFormat},
		{"garbage", "\x00\xff\x00", ErrKeyFormat},
		{"long", strings.Repeat("#", maxKeyFile+1), ErrKeyFormat},
		{"two keys", string(public) + string(public), ErrKeyFormat},
		{"cut", string(secret[:len(secret)-3]), ErrKeyFormat},
		{"cut public", string(public[:len(public)-3]), ErrKeyFormat},
		{"other algorithm", strings.ReplaceAll(string(public), "ed25519", "rot13"), ErrKeyFormat},
		{"other role", strings.ReplaceAll(string(public), "server:", "emperor:"), ErrKeyFormat},
	}
	for _, tt := range tests {
		path := filepath.Join(dir, tt.name)
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadPrivateKey(path, RoleServer); !errors.Is(err, tt.want) {
			t.Errorf("%s: LoadPrivateKey: %v, want %v", tt.name, err, tt.want)
		}
		if _, err := LoadPublicKey(path, RoleServer); !errors.Is(err, tt.want) {
			t.Errorf("%s: LoadPublicKey: %v, want %v", tt.name, err, tt.want)
		}
	}
	for _, path := range []string{name + ".key", name + ".pub"} {
		_, errPrivate := LoadPrivateKey(path, RoleRelease)
		_, errPublic := LoadPublicKey(path, RoleRelease)
		if !errors.Is(errPrivate, ErrKeyRole) || !errors.Is(errPublic, ErrKeyRole) {
			t.Errorf("%s for a release key: %v and %v, want ErrKeyRole", path, errPrivate, errPublic)
		}
	}
	if _, err := LoadPrivateKey(name+".pub", RoleServer); !errors.Is(err, ErrKeyFormat) {
		t.Errorf("LoadPrivateKey of a public key: %v, want ErrKeyFormat", err)
	}
	if _, err := LoadPublicKey(name+".key", RoleServer); !errors.Is(err, ErrKeyFormat) {
		t.Errorf("LoadPublicKey of a private key: %v, want ErrKeyFormat", err)
	}
	if _, err := LoadPrivateKey(dir, RoleServer); err == nil {
		t.Error("a folder was loaded as a key")
	}
	if _, err := LoadPrivateKey(filepath.Join(dir, "absent"), RoleServer); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent file: %v, want fs.ErrNotExist", err)
	}
}

func TestReadablePrivateKeyRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("mode bits say nothing on Windows")
	}
	name := filepath.Join(t.TempDir(), "release")
	if err := testKey(t, RoleRelease, 1).WriteKeyPair(name); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o644, 0o660, 0o666} {
		if err := os.Chmod(name+".key", mode); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadPrivateKey(name+".key", RoleRelease); !errors.Is(err, ErrKeyExposed) {
			t.Errorf("mode %04o: %v, want ErrKeyExposed", mode, err)
		}
	}
}

// A private file whose two halves differ would sign what nobody can verify.
func TestMixedKeyHalvesRefused(t *testing.T) {
	a, b := testKey(t, RoleRelease, 1), testKey(t, RoleRelease, 2)
	mixed := &PrivateKey{public: a.public, key: append(a.key[:32:32], b.key[32:]...)}
	name := filepath.Join(t.TempDir(), "mixed")
	if err := mixed.WriteKeyPair(name); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadPrivateKey(name+".key", RoleRelease); !errors.Is(err, ErrKeyFormat) {
		t.Errorf("LoadPrivateKey: %v, want ErrKeyFormat", err)
	}
}

func TestPublicKeyText(t *testing.T) {
	want := testKey(t, RoleDevice, 1).Public()
	text, _ := json.Marshal(want)
	var got PublicKey
	if err := json.Unmarshal(text, &got); err != nil || got != want {
		t.Errorf("%s gives %v, %v", text, got, err)
	}
	other := testKey(t, RoleServer, 1).Public()
	if other == want || !other.SameKey(want) || other.ID() != want.ID() {
		t.Error("one key in two roles: want different keys of one identity")
	}
	if _, err := GenerateKey("emperor", nil); err == nil {
		t.Error("a key for an unknown role was made")
	}
}

func TestPrintingAKeyShowsNoSecret(t *testing.T) {
	k := testKey(t, RoleServer, 7)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		s := fmt.Sprintf(verb, k)
		if !strings.Contains(s, k.Public().String()) || strings.Contains(s, "7, 7, 7") || strings.Contains(s, "\x07\x07") {
			t.Errorf("%s prints %q", verb, s)
		}
	}
}
