package tool_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var rowID = regexp.MustCompile(`\b(?:[NBFRETA]|X[0-9]{4})-[0-9A-Z]+(?:\.[0-9]+)*-[0-9]+\b`)

// TestCitedRowsExist holds that every row a test cites, and every row docs/conformance.md leaves out, stands in
// docs/requirements.md, and that no row is both proven and left out.
func TestCitedRowsExist(t *testing.T) {
	known := make(map[string]bool)
	for line := range strings.Lines(read(t, "docs/requirements.md")) {
		if id, ok := firstCell(line); ok {
			known[id] = true
		}
	}
	if len(known) < 600 {
		t.Fatalf("docs/requirements.md has %d rows; the table is not read as it is written", len(known))
	}
	cited := make(map[string]string)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		script := strings.Contains(filepath.ToSlash(path), "testdata/") && (strings.HasSuffix(path, ".txt") || strings.HasSuffix(path, ".txtar"))
		if script || strings.HasSuffix(path, "_test.go") {
			for _, id := range rowID.FindAllString(read(t, path), -1) {
				cited[id] = path
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for id, path := range cited {
		if !known[id] {
			t.Errorf("%s cites %s, which is no row of docs/requirements.md", path, id)
		}
	}
	for line := range strings.Lines(read(t, "docs/conformance.md")) {
		id, ok := firstCell(line)
		switch {
		case ok && !known[id]:
			t.Errorf("docs/conformance.md leaves out %s, which is no row of docs/requirements.md", id)
		case ok && cited[id] != "":
			t.Errorf("docs/conformance.md leaves out %s, which %s proves", id, cited[id])
		}
	}
}

// firstCell returns the id in the first cell of a row of a table.
func firstCell(line string) (id string, ok bool) {
	cell, ok := strings.CutPrefix(line, "| ")
	if !ok {
		return "", false
	}
	cell, _, _ = strings.Cut(cell, " |")
	return cell, rowID.FindString(cell) == cell && cell != ""
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
