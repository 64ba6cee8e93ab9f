// Package tshark has the second implementation read what ours has written, for tests.
package tshark

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Read returns what tshark reads of a capture, a map for each packet from the names of fields to their values in order;
// options are those of tshark that say more. Without tshark the test is skipped, unless REQUIRE_TSHARK is set.
func Read(t testing.TB, capture []byte, options []string, fields ...string) (packets []map[string][]string) {
	t.Helper()
	program, err := exec.LookPath("tshark")
	if err != nil {
		if os.Getenv("REQUIRE_TSHARK") != "" {
			t.Fatal("REQUIRE_TSHARK is set, and there is no tshark")
		}
		t.Skip("no tshark on this system; set REQUIRE_TSHARK=1 to make that a failure")
	}
	path := filepath.Join(t.TempDir(), "capture.pcapng")
	if err := os.WriteFile(path, capture, 0o644); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-r", path, "-T", "fields", "-E", "separator=/t", "-E", "occurrence=a", "-E", "aggregator=,"}, options...)
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	for line := range strings.Lines(string(out)) {
		p := make(map[string][]string)
		for i, v := range strings.Split(strings.TrimRight(line, "\n"), "\t") {
			if v != "" {
				p[fields[i]] = strings.Split(v, ",")
			}
		}
		packets = append(packets, p)
	}
	return packets
}
