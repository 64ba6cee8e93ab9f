package manifest

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the vectors in testdata")

// vectorKeys are the keys of the vectors: seeds of 32 equal bytes.
func vectorKeys(t testing.TB) (releaseA, releaseB, server *PrivateKey) {
	return testKey(t, RoleRelease, 1), testKey(t, RoleRelease, 2), testKey(t, RoleServer, 3)
}

// golden compares bytes with a file in testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s changed:\n%x\nwant\n%x\nDevices in the field read the old bytes; -update rewrites the file", name, got, want)
	}
}

// TestVectors holds the bytes on disk and on the wire, and that old bytes stay readable.
func TestVectors(t *testing.T) {
	a, b, server := vectorKeys(t)
	golden(t, "small.manifest", mustSign(t, smallManifest(t), a))
	golden(t, "full.manifest", mustSign(t, fullManifest(t), a, b))
	golden(t, "sealed.manifest", mustSign(t, sealedManifest(t), a))
	golden(t, "session.cose", signSession(t, testSession(t), server))

	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	device := testDevice()
	device.Extensions = []string{"com.example.must"}
	if m, err := Open(read("small.manifest"), trust(1, a), device); err != nil || !reflect.DeepEqual(m, smallManifest(t)) {
		t.Errorf("small.manifest: %v", err)
	}
	if m, err := Open(read("full.manifest"), trust(2, a, b), device); err != nil || !reflect.DeepEqual(m, fullManifest(t)) {
		t.Errorf("full.manifest: %v", err)
	}
	device.Extensions = append(device.Extensions, ExtensionSealed)
	if m, err := Open(read("sealed.manifest"), trust(1, a), device); err != nil || !reflect.DeepEqual(m, sealedManifest(t)) {
		t.Errorf("sealed.manifest: %v", err)
	}
	if s, err := OpenSession(read("session.cose"), server.Public(), nil, testNow); err != nil || !reflect.DeepEqual(s, testSession(t)) {
		t.Errorf("session.cose: %v", err)
	}
}

// TestInspect holds what people see.
func TestInspect(t *testing.T) {
	a, b, _ := vectorKeys(t)
	var out bytes.Buffer
	if err := Inspect(&out, mustSign(t, fullManifest(t), a, b), a.Public()); err != nil {
		t.Fatal(err)
	}
	out.WriteString("\n")
	unsigned, _ := smallManifest(t).encode()
	if err := Inspect(&out, joinFile(unsigned, nil)); err != nil {
		t.Fatal(err)
	}
	out.WriteString("\n")
	if err := Inspect(&out, mustSign(t, sealedManifest(t), a)); err != nil {
		t.Fatal(err)
	}
	out.WriteString("\n")
	wrong, _ := b.signDetached(manifestContext, []byte("another payload"))
	if err := Inspect(&out, joinFile(unsigned, [][]byte{wrong, []byte("?")}), b.Public()); err != nil {
		t.Fatal(err)
	}
	out.WriteString("\n" + testSession(t).Describe())
	golden(t, "inspect.txt", out.Bytes())
	if err := Inspect(&out, []byte("garbage")); err == nil {
		t.Error("garbage was shown as a manifest")
	}
}
