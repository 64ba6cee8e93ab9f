package session_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/multicast-upgrade/tool/norm/session"
)

// hostileNames are contents of NORM_INFO that must not become the name of a file.
var hostileNames = map[string]string{
	"empty":             "",
	"parent":            "..",
	"above":             "../../etc/passwd",
	"above, later":      "a/../../b",
	"back to itself":    "a/../b",
	"itself":            ".",
	"absolute":          "/etc/passwd",
	"directory":         "a/",
	"two slashes":       "a//b",
	"5 KB":              strings.Repeat("a/", 2560) + "a",
	"5 KB, one element": strings.Repeat("a", 5<<10),
	"long element":      strings.Repeat("a", 256),
	"NUL":               "a\x00b",
	"newline":           "a\nb",
	"escape sequence":   "\x1b[2Ja",
	"C1 control":        "a\u009bb",
	"right to left":     "a\u202egpj.exe",
	"not UTF-8":         "a\xffb",
	"backslashes":       `..\..\windows\system32\config`,
	"drive":             `C:fw.bin`,
	"stream":            "fw.bin:hidden",
	"file of our own":   ".norm-1-2-3-4.part",
	"beneath our own":   "a/.norm-1-2-3-4.part",
}

func TestFileNameRefuses(t *testing.T) {
	for what, info := range hostileNames {
		name, err := session.FileName([]byte(info))
		if !errors.Is(err, session.ErrName) || name != "" {
			t.Errorf("%s: got %q, %v; want ErrName", what, name, err)
		}
		if err != nil && strings.ContainsFunc(err.Error(), unicode.IsControl) {
			t.Errorf("%s: the error repeats control characters: %q", what, err)
		}
	}
}

func TestFileNameAccepts(t *testing.T) {
	for _, info := range []string{"fw.bin", "a/b/c", ".hidden", "..a", "a..", "ä ö/ü", strings.Repeat("a", 255), "-rf", "file 1 (copy).bin"} {
		if name, err := session.FileName([]byte(info)); err != nil || name != info {
			t.Errorf("%q: got %q, %v", info, name, err)
		}
	}
}

// FuzzFileName holds what makes a name harmless: it stays beneath the directory it is joined to, and is safe to print.
func FuzzFileName(f *testing.F) {
	for _, info := range hostileNames {
		f.Add([]byte(info))
	}
	f.Add([]byte("a/b/fw.bin"))
	f.Fuzz(func(t *testing.T, info []byte) {
		name, err := session.FileName(info)
		if err != nil {
			return
		}
		if !filepath.IsLocal(filepath.FromSlash(name)) || filepath.ToSlash(filepath.Clean(name)) != name {
			t.Errorf("%q leads outside, or is not clean", name)
		}
		if !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) || len(name) > 1024 {
			t.Errorf("%q is not safe to print", name)
		}
		if name != string(info) {
			t.Errorf("%q became %q", info, name)
		}
	})
}
