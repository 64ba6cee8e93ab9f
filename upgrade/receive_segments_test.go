package upgrade

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm"
)

// withSegments adds a list of segment hashes to a campaign.
func (s *server) withSegments() {
	s.t.Helper()
	list := manifest.NewSegmentList(s.sess.Campaign, &s.rel.m, int(s.sess.FEC.SegmentSize))
	b, digest, err := list.Make(&s.rel.m, func(yield func(int, io.ReaderAt) bool) {
		for i, image := range s.rel.images {
			if !yield(i, bytes.NewReader(image)) {
				return
			}
		}
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.segments, s.sess.Segments = b, manifest.Segments{Object: s.sess.Objects.Hashes - 1, Digest: digest}
}

// An assault is what happens to the datagrams of a campaign on their way: forge changes the symbols that it is true of, the
// first time that they come, or always.
type assault struct {
	forge  func(object uint16, symbol uint8) bool
	always bool
}

// suffer runs a campaign with one device under an assault, and returns which leaves were rejected, in order.
func suffer(t *testing.T, s *server, x assault) (rejected []string) {
	t.Helper()
	forged := map[[3]int]bool{}
	s.net.Lose(func(from, _ netip.AddrPort, b []byte) bool {
		o, n, symbol, ok := symbolOf(b)
		if key := [3]int{int(o), int(n), int(symbol)}; ok && from == serverAddr && x.forge(o, symbol) && (x.always || !forged[key]) {
			forged[key] = true
			for i := 4 * int(b[1]); i < len(b); i++ { // the payload
				b[i] ^= byte(i) + symbol + 1
			}
		}
		return false
	})
	dir, w := t.TempDir(), new(watcher)
	a := run(t, s.config(dir, "d1", w), w)
	s.publish()
	s.sendTo(w)
	s.decideAndTell()
	eventually(t, time.Minute, "activation", w.has(EventActivated))
	if len(forged) == 0 {
		t.Error("nothing was forged")
	}
	for i, image := range s.rel.images {
		if !bytes.Equal(readFile(t, dir, "current/fw"+string(rune('0'+i))), image) {
			t.Errorf("image %d is wrong", i)
		}
	}
	for _, e := range w.events {
		if e.Kind == EventLeafRejected {
			rejected = append(rejected, fmt.Sprintf("%s/%d at %s", e.Name, *e.Leaf, e.Time.Format("05.000")))
		}
	}
	a.stop()
	s.stop()
	if left, _ := filepath.Glob(filepath.Join(dir, "stage/*/segments")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	return rejected
}

// TestAttackForgedSegmentOfCampaignWithSegmentHashes forges one source symbol of each block. Without segment hashes a leaf of
// each block is found wrong; with them no more than came before the first of those.
func TestAttackForgedSegmentOfCampaignWithSegmentHashes(t *testing.T) {
	rejected := map[bool][]string{}
	for _, hashes := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, makeRelease(t, nil, testImage(2_000_000, 1), testImage(500_000, 2)), commit.Policy{}, "d1")
			if hashes {
				s.withSegments()
			}
			rejected[hashes] = suffer(t, s, assault{forge: func(object uint16, symbol uint8) bool { return (object == 1 || object == 2) && symbol == 5 }})
			if len(s.fetches) > 0 {
				t.Errorf("requests by HTTP: %v, want none", s.fetches)
			}
		})
	}
	if blocks := 23 + 6; len(rejected[false]) < blocks || len(rejected[true]) > blocks/4 {
		t.Errorf("rejected without segment hashes: %v\nwith them: %v\nwant one leaf a block, and a few", rejected[false], rejected[true])
	}
}

// TestAttackForgedSegmentHashes forges the list itself, or has the description sign another: it is not believed, and what is
// right is taken all the same.
func TestAttackForgedSegmentHashes(t *testing.T) {
	segments := func(object uint16) bool { return object == 65535 }
	for name, test := range map[string]struct {
		assault
		spoil func(*server)
	}{
		"always": {assault{always: true, forge: func(object uint16, symbol uint8) bool { return segments(object) || object == 1 && symbol == 5 }}, nil},
		"once":   {assault{forge: func(object uint16, symbol uint8) bool { return segments(object) || object == 1 && symbol == 5 }}, nil},
		"another digest is signed": {assault{forge: func(object uint16, symbol uint8) bool { return object == 1 && symbol == 5 }},
			func(s *server) { s.sess.Segments.Digest[0] ^= 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, makeRelease(t, nil, testImage(500_000, 1)), commit.Policy{}, "d1")
				s.withSegments()
				if test.spoil != nil {
					test.spoil(s)
				}
				suffer(t, s, test.assault)
			})
		})
	}
}

// TestAttackForgedHashListPiece forges the hash list, all symbols once: its repair comes by multicast.
func TestAttackForgedHashListPiece(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, makeRelease(t, nil, testImage(3_000_000, 1)), commit.Policy{}, "d1")
		if n := suffer(t, s, assault{forge: func(object uint16, symbol uint8) bool { return object == 0 && symbol == 0 }}); len(n) > 0 || len(s.fetches) > 0 {
			t.Errorf("leaves %v rejected, requests by HTTP %v; want none", n, s.fetches)
		}
	})
}

// TestSegmentCheckTakesNoMemory holds that hashing segments allocates nothing, and that nothing is said before something forged was
// seen.
func TestSegmentCheckTakesNoMemory(t *testing.T) {
	h, image := checkedImage(t)
	if v := h.check(1, 0, image[1400:2800]); v != norm.Unknown {
		t.Errorf("says %v unasked", v)
	}
	h.arm()
	if a, b, c := h.check(1, 1400, image[1400:2800]), h.check(1, 1400, image[:1400]), h.check(1, 1400*1500, image[1400*1500:1400*1501]); a != norm.Good ||
		b != norm.Forged || c != norm.Good {
		t.Errorf("says %v of a segment, %v of another in its place, %v of one of another piece", a, b, c)
	}
	if v := h.check(2, 0, image[:1400]); v != norm.Unknown {
		t.Errorf("says %v of another object", v)
	}
	if n := testing.AllocsPerRun(100, func() { h.check(1, 2800, image[2800:4200]) }); n != 0 {
		t.Errorf("%v allocations for a segment", n)
	}
}

// BenchmarkSegmentCheck is what a segment of 1400 bytes costs who checks it.
func BenchmarkSegmentCheck(b *testing.B) {
	h, image := checkedImage(b)
	h.arm()
	b.ReportAllocs()
	for b.Loop() {
		if h.check(1, 1400, image[1400:2800]) != norm.Good {
			b.Fatal("forged")
		}
	}
}

// checkedImage returns the segment hashes of an image that is object 1, all of them confirmed.
func checkedImage(t testing.TB) (*segmentHashes, []byte) {
	t.Helper()
	image := testImage(3_000_000, 1)
	m := &manifest.Manifest{Images: []manifest.Image{{Size: int64(len(image))}}}
	list := manifest.NewSegmentList(manifest.CampaignID{1}, m, 1400)
	b, digest, err := list.Make(m, func(yield func(int, io.ReaderAt) bool) { yield(0, bytes.NewReader(image)) })
	if err != nil {
		t.Fatal(err)
	}
	d, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file, err := d.OpenFile("segments", openReadWrite, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close(); d.Close() })
	h := &segmentHashes{list: list, digest: digest, file: file}
	h.begin()
	if _, err := h.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if wrong := h.confirm(span{0, int64(len(b))}, true); wrong != nil {
		t.Fatalf("%v are wrong", wrong)
	}
	h.know(1, 0)
	return h, image
}
