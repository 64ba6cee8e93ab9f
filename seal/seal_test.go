package seal

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"filippo.io/age"

	"github.com/multicast-upgrade/tool/manifest"
)

var update = flag.Bool("update", false, "seal the vector in testdata anew")

const chunk = 64 << 10 // of age's STREAM

func plaintext(size int) []byte {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(size)}).Read(b)
	return b
}

// encrypt seals what a test needs.
func encrypt(t testing.TB, plain []byte) (ciphertext []byte, key manifest.FileKey, sealed *manifest.Sealed) {
	t.Helper()
	var b bytes.Buffer
	key, sealed, err := Encrypt(&b, bytes.NewReader(plain))
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), key, sealed
}

func decrypt(ciphertext []byte, key manifest.FileKey) ([]byte, error) {
	r, err := Open(bytes.NewReader(ciphertext), key)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func TestSealAndOpen(t *testing.T) {
	for _, size := range []int{1, chunk - 1, chunk, chunk + 1, 3 * chunk} {
		plain := plaintext(size)
		ciphertext, key, sealed := encrypt(t, plain)
		if sealed.Size != int64(size) || sealed.SHA256 != sha256.Sum256(plain) || !bytes.HasPrefix(ciphertext, sealed.Header) {
			t.Errorf("%d bytes: the manifest says %d, header at the beginning: %v", size, sealed.Size, bytes.HasPrefix(ciphertext, sealed.Header))
		}
		// "encrypted_length = header + 16 nonce + payload + 16 for each chunk of 64 KiB": age.md.
		if want := len(sealed.Header) + 16 + size + 16*((size+chunk-1)/chunk); len(ciphertext) != want {
			t.Errorf("%d bytes have %d when sealed, want %d", size, len(ciphertext), want)
		}
		if err := Check(sealed, key); err != nil {
			t.Error(err)
		}
		if got, err := decrypt(ciphertext, key); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes: %d come back, %v", size, len(got), err)
		}
		if size > 100 && bytes.Contains(ciphertext, plain[50:100]) {
			t.Error("the ciphertext has the plaintext in it")
		}
	}
	a, ka, _ := encrypt(t, plaintext(100))
	b, kb, _ := encrypt(t, plaintext(100))
	if ka == kb || bytes.Equal(a[len(a)-116:], b[len(b)-116:]) {
		t.Error("two images are sealed with one key")
	}
}

// TestAttackWrongFileKey: it is found out from the header alone, and opens nothing.
func TestAttackWrongFileKey(t *testing.T) {
	ciphertext, key, sealed := encrypt(t, plaintext(1000))
	_, other, _ := encrypt(t, plaintext(1000))
	near := key
	near[15] ^= 1
	for _, wrong := range []manifest.FileKey{other, near, {}} {
		if err := Check(sealed, wrong); !errors.Is(err, ErrKey) {
			t.Errorf("from the header: %v, want ErrKey", err)
		}
		if got, err := decrypt(ciphertext, wrong); !errors.Is(err, ErrKey) || len(got) > 0 {
			t.Errorf("%d bytes are opened, %v; want ErrKey", len(got), err)
		}
	}
	if err := Check(&manifest.Sealed{Header: []byte("no header")}, key); !errors.Is(err, ErrKey) {
		t.Errorf("no header at all: %v, want ErrKey", err)
	}
}

// TestCheckAll: as many keys as images, each for its own.
func TestCheckAll(t *testing.T) {
	_, k1, s1 := encrypt(t, plaintext(10))
	_, k2, s2 := encrypt(t, plaintext(20))
	m := &manifest.Manifest{Images: []manifest.Image{{Name: "a", Sealed: s1}, {Name: "plain"}, {Name: "b", Sealed: s2}}}
	if err := CheckAll(m, []manifest.FileKey{k1, k2}); err != nil {
		t.Error(err)
	}
	for _, keys := range [][]manifest.FileKey{nil, {k1}, {k2, k1}, {k1, k2, k2}} {
		if err := CheckAll(m, keys); !errors.Is(err, ErrKey) {
			t.Errorf("%d keys: %v, want ErrKey", len(keys), err)
		}
	}
}

// TestAttackTruncatedCiphertext: wherever a sealed image is cut off, at the end of a chunk too, what is read of it ends with an
// error; and so it does if chunks are exchanged, left out or added.
func TestAttackTruncatedCiphertext(t *testing.T) {
	plain := plaintext(2*chunk + 100)
	ciphertext, key, sealed := encrypt(t, plain)
	body := len(sealed.Header) + 16
	part := func(i int) []byte { return ciphertext[body+i*(chunk+16) : min(body+(i+1)*(chunk+16), len(ciphertext))] }
	join := func(parts ...[]byte) []byte { return bytes.Join(append([][]byte{ciphertext[:body]}, parts...), nil) }
	wrong := map[string][]byte{
		"exchanged": join(part(1), part(0), part(2)), "left out": join(part(0), part(2)), "twice": join(part(0), part(0), part(1), part(2)),
		"trailing byte": append(bytes.Clone(ciphertext), 0), "without the last": join(part(0), part(1)), "only the header": ciphertext[:body],
	}
	for _, n := range []int{0, 1, body - 1, body + 1, body + 16, len(ciphertext) - 1, len(ciphertext) - 100} {
		wrong[fmt.Sprint("cut to ", n)] = ciphertext[:n]
	}
	for name, b := range wrong {
		if got, err := decrypt(b, key); err == nil {
			t.Errorf("%s: %d bytes are opened without an error", name, len(got))
		} else if !bytes.HasPrefix(plain, got) {
			t.Errorf("%s: bytes are given that were never sealed", name)
		}
	}
}

// TestNoOtherIdentityOpens: the header carries no key, so nothing that usually opens an age file opens a sealed image.
func TestNoOtherIdentityOpens(t *testing.T) {
	ciphertext, _, sealed := encrypt(t, plaintext(100))
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	_, err = age.Decrypt(bytes.NewReader(ciphertext), id)
	if none, ok := errors.AsType[*age.NoIdentityMatchError](err); !ok || len(none.StanzaTypes) != 1 || none.StanzaTypes[0] != stanzaType {
		t.Errorf("%v; header\n%s", err, sealed.Header)
	}
}

// TestVector holds that images which were sealed before can be opened: testdata/README.md says how this one was made.
func TestVector(t *testing.T) {
	plain := []byte("an image that was sealed, once\n")
	if *update {
		ciphertext, key, _ := encrypt(t, plain)
		os.Remove("testdata/vector.seal")
		if err := errors.Join(os.WriteFile("testdata/vector.age", ciphertext, 0o644), manifest.WriteFileKeys("testdata/vector.seal", []manifest.FileKey{key})); err != nil {
			t.Fatal(err)
		}
	}
	ciphertext, err := os.ReadFile("testdata/vector.age")
	if err != nil {
		t.Fatal(err)
	}
	secret, err := os.ReadFile("testdata/vector.seal") // whose mode in a checkout is as the umask says
	path := filepath.Join(t.TempDir(), "vector.seal")
	if err == nil {
		err = os.WriteFile(path, secret, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	keys, err := manifest.LoadFileKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decrypt(ciphertext, keys[0]); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%q, %v", got, err)
	}
}

// FuzzOpen: of all bytes only the sealed image opens to its end, and never a panic.
func FuzzOpen(f *testing.F) {
	plain := plaintext(200)
	ciphertext, key, _ := encrypt(f, plain)
	f.Add(ciphertext)
	f.Add(ciphertext[:len(ciphertext)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := decrypt(b, key); err == nil && !bytes.Equal(b, ciphertext) {
			t.Errorf("%x opens to %x", b, got)
		}
	})
}

// FuzzCheck: of all headers only those whose MAC the file key has made pass, and never a panic.
func FuzzCheck(f *testing.F) {
	_, key, sealed := encrypt(f, plaintext(200))
	f.Add(sealed.Header)
	f.Add(sealed.Header[:len(sealed.Header)-1])
	f.Fuzz(func(t *testing.T, header []byte) {
		if Check(&manifest.Sealed{Header: header}, key) == nil && !bytes.HasPrefix(header, sealed.Header) {
			t.Errorf("%q passes", header)
		}
	})
}

// BenchmarkOpen is how fast an image is opened, and BenchmarkHash how fast it is hashed, which each device does three times.
func BenchmarkOpen(b *testing.B) {
	plain := plaintext(8 << 20)
	ciphertext, key, _ := encrypt(b, plain)
	b.SetBytes(int64(len(plain)))
	for b.Loop() {
		r, err := Open(bytes.NewReader(ciphertext), key)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHash(b *testing.B) {
	plain := plaintext(8 << 20)
	b.SetBytes(int64(len(plain)))
	for b.Loop() {
		sha256.Sum256(plain)
	}
}
