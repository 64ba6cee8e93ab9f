// Package systemd tests the units of this directory.
package systemd

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestTemplateIsTheUnit: the unit for one product of several differs in where its files are, and in nothing else.
func TestTemplateIsTheUnit(t *testing.T) {
	_, unit, _ := strings.Cut(read(t, "normrecv.service"), "[Unit]")
	_, template, _ := strings.Cut(read(t, "normrecv@.service"), "[Unit]")
	same := strings.NewReplacer(" for %i", "", "/etc/normrecv/%i.toml", "/etc/normrecv.toml", "normrecv/%i", "normrecv").Replace(template)
	if same != unit {
		t.Error("normrecv@.service differs from normrecv.service in more than %i")
	}
}

// TestVerified has systemd read the unit, where there is one.
func TestVerified(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze")
	}
	program, err := exec.LookPath("true")
	if err != nil {
		t.Skip("there is no program to put into the place of normrecv")
	}
	name := filepath.Join(t.TempDir(), "normrecv.service")
	if err := os.WriteFile(name, []byte(strings.ReplaceAll(read(t, "normrecv.service"), "/usr/bin/normrecv", program)), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(analyze, "verify", "--man=no", name).CombinedOutput()
	if err != nil || strings.Contains(string(out), filepath.Base(name)) {
		t.Errorf("%v: %s", err, out)
	}
}
