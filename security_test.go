package tool_test

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	attackFunc  = regexp.MustCompile(`(?m)^func (TestAttack\w*)\(t \*testing\.T\)`)
	attackNamed = regexp.MustCompile("`([a-z0-9/]+)\\.(TestAttack\\w*)`")
)

// fewestAttacks is how many are tried at the least.
const fewestAttacks = 40

// TestSecurityTable holds that docs/security.md names each test of an attack by its package, and none that there is not.
func TestSecurityTable(t *testing.T) {
	tried := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		for _, m := range attackFunc.FindAllStringSubmatch(read(t, path), -1) {
			tried[filepath.ToSlash(filepath.Dir(path))+"."+m[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, m := range attackNamed.FindAllStringSubmatch(read(t, "docs/security.md"), -1) {
		name := m[1] + "." + m[2]
		if named[name] = true; !tried[name] {
			t.Errorf("docs/security.md names %s, which is no test", name)
		}
	}
	for name := range tried {
		if !named[name] {
			t.Errorf("%s is a test of an attack: docs/security.md has to say what it is about, and what remains", name)
		}
	}
	if len(tried) < fewestAttacks {
		t.Errorf("%d tests of attacks, want at least %d", len(tried), fewestAttacks)
	}
}
