package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/internal/netns"
)

// TestBench runs each kind of case once, with little to send: that all print what they should, not how fast it is.
func TestBench(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	netns.Require(t)
	program := filepath.Join(t.TempDir(), "bench")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program, "-systems", "norm", "-receivers", "2", "-loss", "0,5", "-sizes", "1MB", "-runs", "1", "-dir", dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, stderr.Bytes())
	}
	number := `[0-9.]+ `
	for _, want := range []string{
		`^\| 2 \| 0 \| 1 \| norm \| ` + number, `^\| 2 \| 5 \| 1 \| norm \| ` + number, `^\| 2 \| 0 \| 1 \| norm \| 100 \| ` + number,
		`^\| 2 \| 0 \| 1 \| norm \| auto \| ` + number,
		`^\| 2 \| 0 \| 1 \| raw sendto, recvfrom \| \| ` + number, `^\| 2 \| 0 \| 1 \| raw sendmmsg, recvmmsg \| \| ` + number,
		`^\| 2 \| 0 \| 1 \| raw GSO, GRO \| \| ` + number,
		`^\| 1 \| [-+][0-9.]+ % \| [-+][0-9.]+ % \| 1 \|`, // a burst of one datagram at 1 Mbit/s
	} {
		if !regexp.MustCompile("(?m)" + want).Match(out) {
			t.Errorf("no line %q in:\n%s", want, out)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestPace counts the fullest and the emptiest second of datagrams that come each 100 ms, with a gap of half a second.
func TestPace(t *testing.T) {
	var arrivals []arrival
	for i := range 40 {
		at := time.Duration(i) * 100 * time.Millisecond
		if i >= 20 {
			at += 500 * time.Millisecond
		}
		arrivals = append(arrivals, arrival{at, 1000})
	}
	// Ten come in a second, nine between two that are a second apart, and five less around the gap.
	if got, want := pace(arrivals), (paceCount{Least: 4 * 8000, Most: 10 * 8000}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestReceiveBufferErrors(t *testing.T) {
	snmp := "Tcp: A B\nTcp: 1 2\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors\nUdp: 1 2 3 4 5\nUdpLite: RcvbufErrors\nUdpLite: 9\n"
	if got := receiveBufferErrors(snmp); got != 5 {
		t.Errorf("%d, want 5", got)
	}
}
