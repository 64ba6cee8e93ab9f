package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMain(m *testing.M) {
	if what := os.Getenv(serveEnv); what != "" {
		exit(serve(what))
	}
	os.Exit(m.Run())
}

func testBench(t *testing.T, size int) *bench {
	t.Helper()
	dir := t.TempDir()
	b := &bench{dir: dir, deliveries: 60_000, image: filepath.Join(dir, "image.bin")}
	if err := b.prepare(t.Context(), filepath.Join("..", ".."), size); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestTwentyProcesses sends a file to 20 processes of normrecv: what leaves the sender is the file once, and its headers.
func TestTwentyProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("starts 21 processes")
	}
	b := testBench(t, 2e6)
	r, err := b.session(t.Context(), 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", r)
	if r.verified != 20 || r.sent < 1 || r.sent > 1.5 || r.user+r.system <= 0 {
		t.Errorf("%+v", r)
	}
	left, err := filepath.Glob(filepath.Join(b.dir, "receiver-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// TestComparison has ten clients of each kind: unicast sends the file ten times.
func TestComparison(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers")
	}
	b := testBench(t, 300_000)
	for _, test := range []struct {
		by          string
		least, most float64
	}{{"HTTP", 10, 10.1}, {"TFTP", 10, 10.5}, {"NORM", 1, 1.5}} {
		r, err := b.compare(t.Context(), test.by, 10)
		if err != nil || r.verified != 10 || r.sent < test.least || r.sent > test.most {
			t.Errorf("%s: %+v, %v; want 10 verified, %g to %g files sent", test.by, r, err, test.least, test.most)
		}
	}
	if r, err := b.simulate(200); err != nil || r.verified != 200 || r.sent < 1 || r.sent > 1.1 {
		t.Errorf("simulated: %+v, %v", r, err)
	}
}

// TestFailureIsTold: content that differs is not verified.
func TestFailureIsTold(t *testing.T) {
	b := &bench{}
	b.content, b.sum = content(1000)
	s, err := startServer(t.Context(), "HTTP", 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	b.content[999]++
	if _, err := b.byHTTP(t.Context(), s.addr, 0); err == nil {
		t.Error("other content is taken for the image")
	}
	for _, list := range []string{"x", "0", "1,-1"} {
		if _, err := numbers(list); err == nil {
			t.Errorf("%q is taken for numbers", list)
		}
	}
}
