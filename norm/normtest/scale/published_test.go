package scale

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const docs = "../../../docs/"

// TestPublished holds that docs/scale.md shows the tables and plots of the results that are kept beside it.
func TestPublished(t *testing.T) {
	rows, err := Read(docs + "scale/results.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(docs + "scale.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range Tables(rows) {
		if !strings.Contains(string(page), table.Text) {
			t.Errorf("docs/scale.md lacks the table %s of its results:\n%s", table.Name, table.Text)
		}
	}
	dir := t.TempDir()
	if err := DrawPlots(dir, rows); err != nil {
		t.Fatal(err)
	}
	drawn, err := filepath.Glob(dir + "/*.svg")
	if err != nil || len(drawn) < 3 {
		t.Fatalf("%d plots: %v", len(drawn), err)
	}
	for _, name := range drawn {
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		name = filepath.Base(name)
		if got, err := os.ReadFile(docs + "images/" + name); err != nil || string(got) != string(want) {
			t.Errorf("docs/images/%s is not what its results come to: %v", name, err)
		}
		if !strings.Contains(string(page), "images/"+name) {
			t.Errorf("docs/scale.md does not show %s", name)
		}
	}
}
