package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestGroupKeyFile(t *testing.T) {
	k, name := GenerateGroupKey(), filepath.Join(t.TempDir(), "group")
	if err := k.WriteFile(name); err != nil {
		t.Fatal(err)
	}
	if got, err := LoadGroupKey(name + ".key"); err != nil || got != k {
		t.Errorf("read back: %v, the same: %v", err, got == k)
	}
	if err := k.WriteFile(name); !errors.Is(err, fs.ErrExist) {
		t.Errorf("written again: %v, want that it exists", err)
	}
	if k == GenerateGroupKey() {
		t.Error("two keys are the same")
	}
	if runtime.GOOS != "windows" {
		os.Chmod(name+".key", 0o644)
		if _, err := LoadGroupKey(name + ".key"); !errors.Is(err, ErrKeyExposed) {
			t.Errorf("readable by all: %v, want ErrKeyExposed", err)
		}
	}
	if _, err := LoadPrivateKey(name+".key", RoleServer); err == nil {
		t.Error("a group key was taken for a server key")
	}
}

func TestGroupKeyIsNoOther(t *testing.T) {
	dir := t.TempDir()
	server, err := GenerateKey(RoleServer, nil)
	if err == nil {
		err = server.WriteKeyPair(filepath.Join(dir, "server"))
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"server.key", "server.pub"} {
		if _, err := LoadGroupKey(filepath.Join(dir, name)); !errors.Is(err, ErrKeyRole) {
			t.Errorf("%s: %v, want ErrKeyRole", name, err)
		}
	}
	for name, word := range map[string]string{
		"short": "private:group:hkdf-sha256:AAAA", "alg": "private:group:md5:" + strings.Repeat("A", 43), "no role": "private:x:hkdf-sha256:AAAA",
		"empty": "", "other": "hello",
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(word), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadGroupKey(path); !errors.Is(err, ErrKeyFormat) {
			t.Errorf("%s: %v, want ErrKeyFormat", name, err)
		}
	}
}

func TestGroupKeyIsNotPrinted(t *testing.T) {
	k := GroupKey([]byte(strings.Repeat("K", 32)))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		if got := fmt.Sprintf(verb, struct{ Key GroupKey }{k}); strings.Contains(got, "KKKK") || strings.Contains(got, "4b4b") || strings.Contains(got, "75 75") {
			t.Errorf("%s prints %s", verb, got)
		}
	}
}
