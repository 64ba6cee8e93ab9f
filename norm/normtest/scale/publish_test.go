package scale

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestResults writes rows, reads them back, and publishes them.
func TestResults(t *testing.T) {
	name := filepath.Join(t.TempDir(), "results.jsonl")
	c := base(20, 4, 20, Loss{LossIndependent, 0.05}, true)
	c.Record = true
	for range 2 {
		row, err := RunRow("sender", c)
		if err != nil {
			t.Fatal(err)
		}
		if err := row.Append(name); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := Read(name)
	if err != nil || len(rows) != 2 || rows[0].Loss != c.Loss || rows[0].Work == nil || rows[1].Complete != 20 {
		t.Fatalf("%+v, %v", rows, err)
	}
	if s := rows[0].String(); !strings.Contains(s, "20 of 20, each symbol verified") || !strings.Contains(s, "\nsender ") {
		t.Error(s)
	}
	var out strings.Builder
	dir := t.TempDir()
	if err := Publish(&out, name, true, dir); err != nil || !strings.Contains(out.String(), "| 20 | ") {
		t.Errorf("%v:\n%s", err, out.String())
	}
	picture, err := os.ReadFile(filepath.Join(dir, "scale-sender.svg"))
	if err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(strings.NewReader(string(picture))); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"{", `{"receivers":1}`} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(name); err == nil || !strings.Contains(err.Error(), ":1: ") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
