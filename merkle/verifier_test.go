package merkle

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/multicast-upgrade/tool/internal/fuzztest"
)

// memStore is a Store in memory that can fail.
type memStore struct {
	b        []byte
	readErr  error
	writeErr error // after one byte
}

func (s *memStore) ReadAt(p []byte, off int64) (int, error) {
	if s.readErr != nil {
		return 0, s.readErr
	}
	return bytes.NewReader(s.b).ReadAt(p, off)
}

func (s *memStore) WriteAt(p []byte, off int64) (int, error) {
	n, err := len(p), s.writeErr
	if err != nil {
		n = min(1, len(p))
	}
	if end := int(off) + n; end > len(s.b) {
		s.b = append(s.b, make([]byte, end-len(s.b))...)
	}
	return copy(s.b[off:], p[:n]), err
}

func testImage(size int, seed uint64) []byte {
	image := make([]byte, size)
	rng := rand.New(rand.NewPCG(seed, 0))
	for i := range image {
		image[i] = byte(rng.Uint32())
	}
	return image
}

func imageLeaves(t testing.TB, image []byte, leafSize int64) []Hash {
	t.Helper()
	leaves, _, err := HashImage(bytes.NewReader(image), leafSize)
	if err != nil {
		t.Fatal(err)
	}
	return leaves
}

// newTestVerifier returns a Verifier that knows all leaf hashes of image.
func newTestVerifier(t testing.TB, store Store, image []byte, leafSize int64) *Verifier {
	t.Helper()
	v, err := NewVerifier(store, int64(len(image)), leafSize)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Expect(0, imageLeaves(t, image, leafSize)); err != nil {
		t.Fatal(err)
	}
	return v
}

func write(t testing.TB, v *Verifier, p []byte, off int) {
	t.Helper()
	if n, err := v.WriteAt(p, int64(off)); n != len(p) || err != nil {
		t.Fatalf("WriteAt(%d bytes, %d) = %d, %v", len(p), off, n, err)
	}
}

func wantEvents(t testing.TB, v *Verifier, want ...Event) {
	t.Helper()
	if got := slices.Collect(v.Events()); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

func TestAnyOrderOfGoodAndForgedBytes(t *testing.T) { rapid.Check(t, anyOrder()) }

func FuzzVerifier(f *testing.F) { fuzztest.Property(f, anyOrder()) }

// anyOrder is the property that all of this is for:
// whatever is written in whatever order, what counts as verified is on the
// store as it should be, and when all true bytes have come, all is verified.
func anyOrder() func(t *rapid.T) {
	return func(t *rapid.T) {
		const leafSize = 8
		image := testImage(rapid.IntRange(1, 120).Draw(t, "size"), 1)
		leaves, _, _ := HashImage(bytes.NewReader(image), leafSize)
		store := &memStore{}
		v, err := NewVerifier(store, int64(len(image)), leafSize)
		if err != nil {
			t.Fatal(err)
		}
		status := make([]bool, len(leaves)) // by the events alone
		check := func() {
			for e := range v.Events() {
				for i := e.First; i < e.End; i++ {
					status[i] = e.Verified
				}
			}
			count, total := 0, int64(0)
			for i, ok := range status {
				if ok != v.Verified(i) {
					t.Fatalf("leaf %d: events say %v, Verified says %v", i, ok, v.Verified(i))
				}
				off, n := v.Bytes(i, i+1)
				if ok && !bytes.Equal(store.b[off:off+n], image[off:off+n]) {
					t.Fatalf("leaf %d is verified and wrong", i)
				}
				if ok {
					count++
					total += n
				}
			}
			if s := v.Stats(); s.Verified != count || v.Done() != (count == len(leaves)) {
				t.Fatalf("%d leaves verified, Stats %+v, Done %v", count, s, v.Done())
			}
			if got := v.VerifiedBytes(); got != total {
				t.Fatalf("VerifiedBytes = %d, want %d", got, total)
			}
		}
		draw := func(n int) (first, end int) {
			first = rapid.IntRange(0, n-1).Draw(t, "first")
			return first, rapid.IntRange(first+1, n).Draw(t, "end")
		}
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0:
				first, end := draw(len(leaves))
				if err := v.Expect(first, leaves[first:end]); err != nil {
					t.Fatal(err)
				}
			case 1: // forged bytes
				first, end := draw(len(image))
				p := bytes.Clone(image[first:end])
				p[rapid.IntRange(0, len(p)-1).Draw(t, "at")] ^= 1
				v.WriteAt(p, int64(first))
			case 2:
				first, end := draw(len(leaves))
				if err := v.Recheck(first, end); err != nil {
					t.Fatal(err)
				}
			default:
				first, end := draw(len(image))
				v.WriteAt(image[first:end], int64(first))
			}
			check()
		}
		v.Expect(0, leaves)
		check()
		for range 2 { // a leaf with a forged byte is rejected by the first, right after the second
			v.WriteAt(image, 0)
			check()
		}
		if !v.Done() || !bytes.Equal(store.b, image) {
			t.Fatal("all bytes were written, yet not all is verified")
		}
		if len(v.have) != 0 {
			t.Fatalf("all is verified, yet ranges %v are remembered", v.have)
		}
	}
}

func TestSequentialLeavesAreNotReadBack(t *testing.T) {
	const leafSize = 1 << 10
	image := testImage(10*leafSize+17, 1)
	v := newTestVerifier(t, &memStore{}, image, leafSize)
	for off := 0; off < len(image); off += 300 {
		write(t, v, image[off:min(off+300, len(image))], off)
	}
	if s := v.Stats(); !v.Done() || s.ReadBack != 0 {
		t.Errorf("%+v, want all verified and nothing read back", s)
	}
	wantEvents(t, v, Event{0, 11, true})
}

// Only what came behind a gap is read back.
func TestGapIsReadBack(t *testing.T) {
	const leafSize = 1000
	image := testImage(leafSize, 1)
	v := newTestVerifier(t, &memStore{}, image, leafSize)
	write(t, v, image[:400], 0)
	write(t, v, image[600:], 600)
	if v.Done() {
		t.Fatal("done with a gap")
	}
	write(t, v, image[400:600], 400)
	if s := v.Stats(); !v.Done() || s.ReadBack != 400 {
		t.Errorf("%+v, want done and 400 bytes read back", s)
	}
}

// More leaves under way at once than there are runs: those evicted are read back, and all verify.
func TestManyLeavesUnderWay(t *testing.T) {
	const leafSize, n = 100, 3 * maxRuns
	image := testImage(n*leafSize, 1)
	v := newTestVerifier(t, &memStore{}, image, leafSize)
	for part := 0; part < leafSize; part += 50 {
		for leaf := range n {
			off := leaf*leafSize + part
			write(t, v, image[off:off+50], off)
		}
	}
	if s := v.Stats(); !v.Done() || s.ReadBack == 0 {
		t.Errorf("%+v, want all verified and some read back", s)
	}
}

func TestForgedLeafIsRejectedAndTakenAgain(t *testing.T) {
	const leafSize = 100
	image := testImage(3*leafSize, 1)
	v := newTestVerifier(t, &memStore{}, image, leafSize)
	forged := bytes.Clone(image)
	forged[150] ^= 1
	write(t, v, forged, 0)
	wantEvents(t, v, Event{0, 1, true}, Event{1, 2, false}, Event{2, 3, true})
	if s := v.Stats(); s.Wrong != 1 || s.Verified != 2 || v.Done() {
		t.Errorf("%+v, want one wrong leaf", s)
	}
	off, n := v.Bytes(1, 2)
	if off != 100 || n != 100 {
		t.Errorf("Bytes(1, 2) = %d, %d, want 100, 100", off, n)
	}
	write(t, v, image[100:200], 100)
	wantEvents(t, v, Event{1, 2, true})
	if !v.Done() {
		t.Error("the leaf sent again is not taken")
	}
}

func TestVerifiedLeafIsNotOverwritten(t *testing.T) {
	image := testImage(250, 1)
	store := &memStore{}
	v := newTestVerifier(t, store, image, 100)
	write(t, v, image, 0)
	write(t, v, make([]byte, 250), 0)
	if !bytes.Equal(store.b, image) || !v.Done() || v.Stats().Ignored != 250 {
		t.Errorf("verified bytes were written over; %+v", v.Stats())
	}
}

// Bytes already hashed on the way are replaced before the leaf is complete: what is on the store decides.
func TestOverwrittenPrefixIsHashedAgain(t *testing.T) {
	image := testImage(100, 1)
	forged := bytes.Clone(image)
	forged[10] ^= 1
	v := newTestVerifier(t, &memStore{}, image, 100)
	write(t, v, image[:50], 0)
	write(t, v, forged[5:20], 5)
	write(t, v, image[50:], 50)
	wantEvents(t, v, Event{0, 1, false})

	v = newTestVerifier(t, &memStore{}, image, 100)
	write(t, v, forged[:50], 0)
	write(t, v, image[5:20], 5)
	write(t, v, image[50:], 50)
	wantEvents(t, v, Event{0, 1, true})
}

func TestHashesThatComeLate(t *testing.T) {
	const leafSize = 100
	image := testImage(4*leafSize, 1)
	leaves := imageLeaves(t, image, leafSize)
	forged := bytes.Clone(image)
	forged[250] ^= 1
	v, err := NewVerifier(&memStore{}, int64(len(image)), leafSize)
	if err != nil {
		t.Fatal(err)
	}
	write(t, v, forged, 0)
	wantEvents(t, v)
	if err := v.Expect(1, leaves[1:4]); err != nil {
		t.Fatal(err)
	}
	wantEvents(t, v, Event{1, 2, true}, Event{2, 3, false}, Event{3, 4, true})
	if err := v.Expect(0, []Hash{{}}); err != nil {
		t.Fatal(err)
	}
	wantEvents(t, v, Event{0, 1, false})
	if err := v.Expect(0, leaves); err != nil { // leaf 0 keeps the hash it was given first
		t.Fatal(err)
	}
	write(t, v, image, 0)
	wantEvents(t, v, Event{0, 1, false}, Event{2, 3, true})
	for _, first := range []int{-1, 1, 5} {
		if err := v.Expect(first, leaves); !errors.Is(err, ErrBounds) {
			t.Errorf("Expect(%d, 4 hashes) of 4 leaves: %v, want ErrBounds", first, err)
		}
	}
}

func TestBytesOutsideTheImageRefused(t *testing.T) {
	store := &memStore{}
	v := newTestVerifier(t, store, testImage(250, 1), 100)
	for _, off := range []int64{-1, 241, 250, 1 << 62} {
		if n, err := v.WriteAt(make([]byte, 10), off); n != 0 || !errors.Is(err, ErrBounds) {
			t.Errorf("10 bytes at %d: %d, %v, want ErrBounds", off, n, err)
		}
	}
	if len(store.b) != 0 {
		t.Error("bytes outside the image were written")
	}
	for _, tt := range []struct{ size, leafSize int64 }{{-1, 1}, {1, 0}, {1, -1}, {MaxLeaves + 1, 1}} {
		if _, err := NewVerifier(store, tt.size, tt.leafSize); err == nil {
			t.Errorf("an image of %d bytes in leaves of %d was accepted", tt.size, tt.leafSize)
		}
	}
}

// One byte in two would need a range for each: memory stays bounded, and the leaf still arrives in the end.
func TestScatteredBytesAreForgotten(t *testing.T) {
	image := testImage(4*maxSpans, 1)
	v := newTestVerifier(t, &memStore{b: make([]byte, len(image))}, image, int64(len(image)))
	for off := 0; off < len(image); off += 2 {
		write(t, v, image[off:off+1], off)
		if len(v.have) > maxSpans {
			t.Fatalf("%d ranges remembered, limit %d", len(v.have), maxSpans)
		}
	}
	if v.Stats().Forgotten == 0 {
		t.Error("nothing was forgotten")
	}
	wantEvents(t, v, Event{0, 1, false})
	write(t, v, image, 0)
	wantEvents(t, v, Event{0, 1, true})
}

func TestFailingStore(t *testing.T) {
	broken := errors.New("broken")
	image := testImage(100, 1)
	store := &memStore{}
	v := newTestVerifier(t, store, image, 100)

	store.writeErr = broken
	if n, err := v.WriteAt(image[:50], 0); n != 1 || !errors.Is(err, broken) {
		t.Errorf("failing write: %d, %v, want 1 byte and the store's error", n, err)
	}
	store.writeErr = nil
	write(t, v, image[50:], 50)
	store.readErr = broken
	if _, err := v.WriteAt(image[1:50], 1); !errors.Is(err, broken) {
		t.Errorf("failing read: %v, want the store's error", err)
	}
	wantEvents(t, v, Event{0, 1, false})
	if err := v.Recheck(0, 1); !errors.Is(err, broken) {
		t.Errorf("Recheck: %v, want the store's error", err)
	}
	store.readErr = nil
	write(t, v, image, 0)
	wantEvents(t, v, Event{0, 1, true})
}

func TestResume(t *testing.T) {
	const leafSize = 100
	image := testImage(20*leafSize-1, 1)
	store := &memStore{}
	v := newTestVerifier(t, store, image, leafSize)
	write(t, v, image[:300], 0)
	write(t, v, image[1900:], 1900)
	write(t, v, image[500:550], 500) // half a leaf does not survive
	state, err := v.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}

	for _, recheck := range []bool{false, true} {
		v := newTestVerifier(t, store, image, leafSize)
		if err := v.Restore(state); err != nil {
			t.Fatal(err)
		}
		if recheck {
			if err := v.Recheck(0, 20); err != nil {
				t.Fatal(err)
			}
		}
		var missing []int
		for first, end := range v.Ranges(false) {
			missing = append(missing, first, end)
		}
		if s := v.Stats(); s.Verified != 4 || !slices.Equal(missing, []int{3, 19}) {
			t.Errorf("after Restore: %+v, missing %v, want 4 verified and 3:19 missing", s, missing)
		}
		write(t, v, image[300:1900], 300)
		if !v.Done() || !bytes.Equal(store.b, image) {
			t.Error("the rest does not complete the image")
		}
		store.b = append(slices.Clone(store.b[:300]), make([]byte, 1600)...)
		store.b = append(store.b, image[1900:]...)
	}

	for i := range state {
		bad := bytes.Clone(state)
		bad[i] ^= 4
		if err := newTestVerifier(t, store, image, leafSize).Restore(bad); !errors.Is(err, ErrState) {
			t.Errorf("byte %d of the state changed: %v, want ErrState", i, err)
		}
		if err := newTestVerifier(t, store, image, leafSize).Restore(state[:i]); !errors.Is(err, ErrState) {
			t.Errorf("state cut to %d bytes: %v, want ErrState", i, err)
		}
	}
	if err := newTestVerifier(t, store, image[1:], leafSize).Restore(state); !errors.Is(err, ErrState) {
		t.Errorf("state of an image of another size: %v, want ErrState", err)
	}
	blind, _ := NewVerifier(store, int64(len(image)), leafSize)
	if err := blind.Restore(state); err != nil || blind.Stats().Verified != 0 {
		t.Errorf("leaves without a known hash were restored as verified: %v, %+v", err, blind.Stats())
	}
}

// A power cut loses writes that the saved state speaks of: Recheck finds them, and a shorter file too.
func TestLostWritesAreFoundOnRecheck(t *testing.T) {
	image := testImage(500, 1)
	store := &memStore{}
	v := newTestVerifier(t, store, image, 100)
	write(t, v, image, 0)
	state, _ := v.AppendBinary(nil)
	store.b = store.b[:420]
	store.b[120] ^= 1

	v = newTestVerifier(t, store, image, 100)
	if err := v.Restore(state); err != nil || !v.Done() {
		t.Fatalf("Restore: %v, done %v", err, v.Done())
	}
	if err := v.Recheck(0, 5); err != nil {
		t.Fatal(err)
	}
	wantEvents(t, v, Event{1, 2, false}, Event{4, 5, false})
	write(t, v, image[100:200], 100)
	write(t, v, image[400:], 400)
	if !v.Done() || !bytes.Equal(store.b, image) {
		t.Error("two leaves fetched again do not complete the image")
	}
}

// Leaves that lie on the store already, from another session or another image, need not be sent.
func TestRecheckTakesWhatIsThere(t *testing.T) {
	image := testImage(500, 1)
	old := bytes.Clone(image)
	old[250] ^= 1
	v := newTestVerifier(t, &memStore{b: old}, image, 100)
	write(t, v, image[200:230], 200)
	if err := v.Recheck(0, 5); err != nil {
		t.Fatal(err)
	}
	wantEvents(t, v, Event{0, 2, true}, Event{3, 5, true})
	write(t, v, image[230:300], 230) // what had come of leaf 2 still counts
	wantEvents(t, v, Event{2, 3, true})
	for _, r := range [][2]int{{-1, 2}, {0, 6}, {3, 2}} {
		if err := v.Recheck(r[0], r[1]); !errors.Is(err, ErrBounds) {
			t.Errorf("Recheck(%d, %d): %v, want ErrBounds", r[0], r[1], err)
		}
	}
}

// Draining may stop half way; the rest comes the next time.
func TestEventsStoppedHalfWay(t *testing.T) {
	image := testImage(300, 1)
	v := newTestVerifier(t, &memStore{}, image, 100)
	write(t, v, image[200:], 200)
	write(t, v, image[:100], 0)
	for e := range v.Events() {
		if e != (Event{2, 3, true}) {
			t.Errorf("first event %v", e)
		}
		break
	}
	wantEvents(t, v, Event{0, 1, true})
}

func TestVerifierReadsThrough(t *testing.T) {
	v := newTestVerifier(t, &memStore{}, []byte("firmware"), 4)
	write(t, v, []byte("ware"), 4)
	got, err := io.ReadAll(io.NewSectionReader(v, 4, 4))
	if err != nil || string(got) != "ware" {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestTakingSegmentsDoesNotAllocate(t *testing.T) {
	const leafSize, segment = 64 << 10, 1024
	image := testImage(4<<20, 1)
	v := newTestVerifier(t, discard{}, image, leafSize)
	order := rand.New(rand.NewPCG(1, 1))
	off := 0
	take := func() {
		p := image[off : off+4*segment]
		if order.IntN(2) == 0 { // two of four change places
			v.WriteAt(p[2*segment:3*segment], int64(off+2*segment))
			v.WriteAt(p[:2*segment], int64(off))
			v.WriteAt(p[3*segment:], int64(off+3*segment))
		} else {
			v.WriteAt(p, int64(off))
		}
		off += 4 * segment
		for range v.Events() {
		}
	}
	for range 40 {
		take() // buffers are made once
	}
	if n := testing.AllocsPerRun(500, take); n != 0 {
		t.Errorf("%v allocations for four segments, want 0", n)
	}
}

// discard is a Store that keeps nothing.
type discard struct{}

func (discard) ReadAt(p []byte, off int64) (int, error)  { return len(p), nil }
func (discard) WriteAt(p []byte, off int64) (int, error) { return len(p), nil }

func BenchmarkVerifier(b *testing.B) {
	const segment = 1400
	image := testImage(8<<20, 1)
	leaves := imageLeaves(b, image, MinLeafSize)
	b.SetBytes(int64(len(image)))
	for b.Loop() {
		v, _ := NewVerifier(discard{}, int64(len(image)), MinLeafSize)
		v.Expect(0, leaves)
		for off := 0; off < len(image); off += segment {
			v.WriteAt(image[off:min(off+segment, len(image))], int64(off))
		}
		if !v.Done() {
			b.Fatal("not done")
		}
	}
}

func TestStoredBytesAreReadBack(t *testing.T) {
	image := testImage(3*MinLeafSize+100, 1)
	leaves, _, err := HashImage(bytes.NewReader(image), MinLeafSize)
	if err != nil {
		t.Fatal(err)
	}
	store := &memStore{b: slices.Clone(image)}
	store.b[2*MinLeafSize] ^= 1
	v, err := NewVerifier(store, int64(len(image)), MinLeafSize)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Expect(0, leaves[:3]); err != nil {
		t.Fatal(err)
	}
	// Not aligned with the leaves, and the last one before its hash is known.
	for off, n := int64(0), int64(MinLeafSize+7); off < int64(len(image)); off += n {
		if err := v.Stored(off, min(n, int64(len(image))-off)); err != nil {
			t.Fatal(err)
		}
	}
	want := []Event{{0, 2, true}, {2, 3, false}}
	if got := slices.Collect(v.Events()); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	if !v.Complete(3) || v.Verified(3) || v.Complete(2) {
		t.Error("want leaf 3 complete and not verified, leaf 2 neither")
	}
	if err := v.Expect(3, leaves[3:]); err != nil || !v.Verified(3) {
		t.Errorf("leaf 3 verified %v, %v", v.Verified(3), err)
	}
	if err := v.Stored(int64(len(image))-1, 2); err != ErrBounds {
		t.Errorf("beyond the end: %v", err)
	}
}
