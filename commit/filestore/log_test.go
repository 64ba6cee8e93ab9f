package filestore_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/commit/disk/diskfault"
	"github.com/multicast-upgrade/tool/commit/filestore"
)

const (
	headerSize = 32
)

// open opens the log and returns its records.
func open(t testing.TB, d disk.FS) (*filestore.Log, []string) {
	t.Helper()
	l, recs, err := tryOpen(d)
	if err != nil {
		t.Fatal(err)
	}
	return l, recs
}

func tryOpen(d disk.FS) (l *filestore.Log, recs []string, err error) {
	l, err = filestore.Open(d, "log", func(rec []byte) error {
		recs = append(recs, string(rec))
		return nil
	})
	return l, recs, err
}

func appendAll(t testing.TB, l *filestore.Log, recs ...string) {
	t.Helper()
	for _, rec := range recs {
		if err := l.Append([]byte(rec)); err != nil {
			t.Fatal(err)
		}
	}
}

func contents(t testing.TB, d disk.FS) []byte {
	t.Helper()
	b, err := disk.ReadFile(d, "log", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// withContents returns a disk that has just this log.
func withContents(t testing.TB, b []byte) *diskfault.Disk {
	t.Helper()
	d := diskfault.New(1)
	if err := disk.WriteFile(d, "log", b, 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestRecordsComeBackInOrder(t *testing.T) {
	d, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	l, recs := open(t, d)
	if len(recs) != 0 || l.Torn() != 0 {
		t.Fatalf("new log has %q, torn %d", recs, l.Torn())
	}
	appendAll(t, l, "one", "two")
	if err := l.Append([]byte("three"), nil, []byte("four")); err != nil { // an empty record is one
		t.Fatal(err)
	}
	if err := l.Append(); err != nil {
		t.Fatal(err)
	}
	l.Close()
	l, recs = open(t, d)
	if want := []string{"one", "two", "three", "", "four"}; !slices.Equal(recs, want) || l.Torn() != 0 {
		t.Fatalf("got %q, torn %d; want %q", recs, l.Torn(), want)
	}
	l.Close()
	if info, err := os.Stat(filepath.Join(d.Path("."), "log")); err != nil || info.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/' {
		t.Errorf("log can be read by others: %v, %v", info.Mode(), err)
	}
}

// TestTornTailAtEveryByte cuts the file anywhere: the whole frames before the cut stay, the torn one is dropped and
// reported, and the log goes on.
func TestTornTailAtEveryByte(t *testing.T) {
	d := diskfault.New(1)
	l, _ := open(t, d)
	var ends []int64 // of the header and of each frame
	ends = append(ends, l.Size())
	for i := range 4 {
		appendAll(t, l, fmt.Sprintf("record number %d", i))
		ends = append(ends, l.Size())
	}
	full := contents(t, d)
	for n := range len(full) + 1 {
		d := withContents(t, full[:n])
		l, recs, err := tryOpen(d)
		if n < headerSize {
			if !errors.Is(err, filestore.ErrCorrupt) {
				t.Fatalf("cut at %d, in the header: %v, want ErrCorrupt", n, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		whole := 0
		for whole+1 < len(ends) && ends[whole+1] <= int64(n) {
			whole++
		}
		if len(recs) != whole || l.Torn() != int64(n)-ends[whole] {
			t.Fatalf("cut at %d: %d records, torn %d; want %d and %d", n, len(recs), l.Torn(), whole, int64(n)-ends[whole])
		}
		appendAll(t, l, "after")
		l, recs = open(t, d)
		if len(recs) != whole+1 || recs[whole] != "after" || l.Torn() != 0 {
			t.Fatalf("cut at %d, then appended: %q, torn %d", n, recs, l.Torn())
		}
	}
}

// TestDamageIsTornOnlyAtTheEnd flips each byte: in the last frame that looks like a torn write; before it, and in the
// header, nothing may be dropped silently.
func TestDamageIsTornOnlyAtTheEnd(t *testing.T) {
	d := diskfault.New(1)
	l, _ := open(t, d)
	appendAll(t, l, "first", "second")
	last := l.Size()
	appendAll(t, l, "third")
	full := contents(t, d)
	for i := range full {
		damaged := bytes.Clone(full)
		damaged[i] ^= 0x40
		l, recs, err := tryOpen(withContents(t, damaged))
		switch {
		case int64(i) >= last:
			if err != nil || len(recs) != 2 || l.Torn() != int64(len(full))-last {
				t.Fatalf("byte %d, in the last frame: %q, %v; want the first two", i, recs, err)
			}
		case !errors.Is(err, filestore.ErrCorrupt):
			t.Fatalf("byte %d: %q, %v; want ErrCorrupt", i, recs, err)
		}
	}
}

// TestZeroTailIsTorn: some file systems give a file its new length before its bytes.
func TestZeroTailIsTorn(t *testing.T) {
	d := diskfault.New(1)
	l, _ := open(t, d)
	appendAll(t, l, "one")
	d = withContents(t, append(contents(t, d), make([]byte, 100)...))
	l, recs := open(t, d)
	if !slices.Equal(recs, []string{"one"}) || l.Torn() != 100 {
		t.Fatalf("got %q, torn %d", recs, l.Torn())
	}
}

// TestRecordThatLooksLikeAFrame: what a stranger puts into a record must not turn a torn tail into corruption, nor be
// taken for a frame.
func TestRecordThatLooksLikeAFrame(t *testing.T) {
	other := diskfault.New(1)
	l, _ := open(t, other)
	appendAll(t, l, "1", "2", "3", "4")
	frames := contents(t, other)[headerSize:] // whole frames, but of another log

	d := diskfault.New(1)
	l, _ = open(t, d)
	appendAll(t, l, "mine")
	size := l.Size()
	if err := l.Append(slices.Concat(frames, []byte("end"))); err != nil {
		t.Fatal(err)
	}
	full := contents(t, d)
	l, recs := open(t, withContents(t, full[:len(full)-1]))
	if !slices.Equal(recs, []string{"mine"}) || l.Size() != size {
		t.Fatalf("got %q, size %d; want the one whole frame, size %d", recs, l.Size(), size)
	}
}

// TestPowerCutAtEveryOperation: whatever was acknowledged is there, at most the append in flight may be there as well,
// and its records only together.
func TestPowerCutAtEveryOperation(t *testing.T) {
	cuts := 0
	for seed := range uint64(40) {
		for n := 1; ; n++ {
			d := diskfault.New(seed)
			d.CrashAt(n)
			acked, tried, err := workload(d, rand.New(rand.NewPCG(seed, 1)))
			if err == nil {
				break // the workload has fewer operations
			}
			if !errors.Is(err, diskfault.ErrCrashed) {
				t.Fatalf("seed %d, cut at %d: %v", seed, n, err)
			}
			cuts++
			d.Restart()
			l, recs, err := tryOpen(d)
			if err != nil {
				t.Fatalf("seed %d, cut at %d: open: %v", seed, n, err)
			}
			if !slices.Equal(recs, acked) && !slices.Equal(recs, tried) {
				t.Fatalf("seed %d, cut at %d: log has %q, want %q or %q", seed, n, recs, acked, tried)
			}
			appendAll(t, l, "after")
			if _, again := open(t, d); !slices.Equal(again, append(recs, "after")) {
				t.Fatalf("seed %d, cut at %d: log has %q after an append to %q", seed, n, again, recs)
			}
		}
	}
	if cuts < 500 {
		t.Errorf("only %d cuts", cuts)
	}
}

// workload appends, reopens and rewrites until something fails. The log then holds acked or tried.
func workload(d *diskfault.Disk, rng *rand.Rand) (acked, tried []string, err error) {
	l, _, err := tryOpen(d)
	if err != nil {
		return nil, nil, err
	}
	for i := range 12 {
		var recs [][]byte
		tried = slices.Clone(acked)
		for range 1 + rng.IntN(3) {
			rec := fmt.Sprintf("%d:%s", i, bytes.Repeat([]byte{'x'}, rng.IntN(40)))
			recs = append(recs, []byte(rec))
			tried = append(tried, rec)
		}
		if i%5 == 4 {
			tried = tried[len(acked):]
			err = l.Rewrite(recs...)
		} else {
			err = l.Append(recs...)
		}
		if err != nil {
			return acked, tried, err
		}
		acked = tried
	}
	return acked, tried, nil
}

// TestNothingIsAppendedAfterAFailure: after a failed sync it is not known what is on the disk.
func TestNothingIsAppendedAfterAFailure(t *testing.T) {
	for _, n := range []int{1, 2} { // the write, the sync
		for seed := range uint64(20) {
			d := diskfault.New(seed)
			l, _ := open(t, d)
			appendAll(t, l, "one")
			d.FailAt(n, syscall.EIO)
			if err := l.Append([]byte("two")); !errors.Is(err, syscall.EIO) {
				t.Fatalf("append: %v, want EIO", err)
			}
			if err := l.Append([]byte("three")); !errors.Is(err, filestore.ErrBroken) {
				t.Fatalf("append after a failure: %v, want ErrBroken", err)
			}
			d.Restart()
			l, recs := open(t, d)
			if !slices.Equal(recs, []string{"one"}) && !slices.Equal(recs, []string{"one", "two"}) {
				t.Fatalf("seed %d: %q", seed, recs)
			}
			appendAll(t, l, "four")
		}
	}
}

// TestReplayedIsDurable has the process die at each operation of an Append, or that fail, and then the power go: what the next
// process was shown is still there.
func TestReplayedIsDurable(t *testing.T) {
	shown := map[string]int{}
	for _, fault := range []diskfault.Fault{diskfault.KillBefore, diskfault.KillAfter, diskfault.Failed} {
		for n := 1; n <= 12; n++ { // making and opening the log, then write and sync
			for seed := range uint64(40) {
				d := diskfault.New(seed)
				d.Inject(func(op diskfault.Op) diskfault.Fault {
					if op.N == n {
						return fault
					}
					return diskfault.None
				})
				if l, _, err := tryOpen(d); err == nil {
					l.Append([]byte("one"))
				}
				d.Inject(nil)
				if d.Kill(); d.Down() != diskfault.ErrKilled {
					t.Fatal("the power went")
				}
				d.Restart()
				_, before := open(t, d)
				d.Crash()
				d.Restart()
				if _, after := open(t, d); !slices.Equal(before, after) {
					t.Fatalf("%s at operation %d, seed %d: replayed %q, and after a power cut %q", fault, n, seed, before, after)
				}
				shown[fmt.Sprint(fault, len(before))]++
			}
		}
	}
	for _, want := range []string{"kill before 0", "kill before 1", "kill after 1", "failed 0", "failed 1"} {
		if shown[want] == 0 {
			t.Errorf("never seen: %s", want)
		}
	}
}

// TestMisreadIsNotTorn reads each part of the log wrong once: nothing durable is cut off.
func TestMisreadIsNotTorn(t *testing.T) {
	whole, corrupt := 0, 0
	for n := range 12 {
		d := diskfault.New(uint64(n))
		l, _ := open(t, d)
		appendAll(t, l, "one", "two", "three")
		d.Restart()
		reads := 0
		d.Inject(func(op diskfault.Op) diskfault.Fault {
			if op.Kind == diskfault.Read {
				if reads++; reads == n {
					return diskfault.Misread
				}
			}
			return diskfault.None
		})
		_, recs, err := tryOpen(d)
		switch {
		case errors.Is(err, filestore.ErrCorrupt):
			corrupt++
			if _, recs = open(t, d); len(recs) != 3 {
				t.Errorf("read %d: then %q", n, recs)
			}
		case err != nil || len(recs) != 3:
			t.Errorf("read %d: %q, %v", n, recs, err)
		default:
			whole++
		}
	}
	if whole == 0 || corrupt == 0 {
		t.Errorf("%d times whole, %d times corrupt", whole, corrupt)
	}
}

func TestRewriteRepairsABrokenLog(t *testing.T) {
	d := diskfault.New(1)
	l, _ := open(t, d)
	d.FailAt(1, syscall.ENOSPC)
	if l.Append([]byte("lost")) == nil {
		t.Fatal("append did not fail")
	}
	if err := l.Rewrite([]byte("state")); err != nil {
		t.Fatal(err)
	}
	appendAll(t, l, "next")
	d.Restart()
	if _, recs := open(t, d); !slices.Equal(recs, []string{"state", "next"}) {
		t.Fatalf("log has %q", recs)
	}
}

// A shyFS counts the files that are open, and opens no log any more when it is told so.
type shyFS struct {
	disk.FS
	shy  bool
	open int
}

func (f *shyFS) OpenFile(name string, flag int, perm os.FileMode) (disk.File, error) {
	if f.shy && name == "log" {
		return nil, syscall.EMFILE
	}
	file, err := f.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	f.open++
	return countedFile{file, f}, nil
}

type countedFile struct {
	disk.File
	fs *shyFS
}

func (f countedFile) Close() error {
	f.fs.open--
	return f.File.Close()
}

// The new log is there and cannot be opened, as when all descriptors are taken: nothing is appended to the old one.
func TestRewriteThatCannotBeOpened(t *testing.T) {
	d := &shyFS{FS: diskfault.New(1)}
	l, _ := open(t, d)
	appendAll(t, l, "old")
	d.shy = true
	if err := l.Rewrite([]byte("state")); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("rewritten: %v", err)
	}
	if err := l.Append([]byte("lost")); !errors.Is(err, filestore.ErrBroken) {
		t.Errorf("appended: %v", err)
	}
	if err := l.Close(); err != nil || d.open != 0 {
		t.Errorf("closed: %v, and %d files are open", err, d.open)
	}
	d.shy = false
	l, recs := open(t, d)
	if !slices.Equal(recs, []string{"state"}) {
		t.Errorf("log has %q", recs)
	}
	if err := l.Close(); err != nil || d.open != 0 {
		t.Errorf("closed: %v, and %d files are open", err, d.open)
	}
}

func TestAppendIsBounded(t *testing.T) {
	d := diskfault.New(1)
	l, _ := open(t, d)
	if err := l.Append(make([]byte, filestore.MaxAppend)); err == nil {
		t.Fatal("appended more than the limit with its length")
	}
	appendAll(t, l, "still works")
	if _, recs := open(t, d); len(recs) != 1 {
		t.Fatalf("%d records", len(recs))
	}
}

func TestReadChangesNothing(t *testing.T) {
	d := diskfault.New(1)
	read := func() (recs []string, err error) {
		err = filestore.Read(d, "log", func(rec []byte) error { recs = append(recs, string(rec)); return nil })
		return recs, err
	}
	if _, err := read(); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("read of no log: %v", err)
	}
	l, _ := open(t, d)
	appendAll(t, l, "one", "two")
	full := contents(t, d)
	d = withContents(t, full[:len(full)-1])
	before := d.Ops()
	recs, err := read()
	if err != nil || !slices.Equal(recs, []string{"one"}) {
		t.Fatalf("read %q, %v", recs, err)
	}
	if d.Ops() != before {
		t.Error("Read changed the disk")
	}
}

func TestReplayErrorEndsOpen(t *testing.T) {
	d := diskfault.New(1)
	l, _ := open(t, d)
	appendAll(t, l, "one", "two")
	stop := errors.New("foreign record")
	calls := 0
	_, err := filestore.Open(d, "log", func([]byte) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Fatalf("open: %v after %d calls", err, calls)
	}
}

// FuzzOpen opens arbitrary bytes as a log: it is refused, or its records stay the same with one more appended.
func FuzzOpen(f *testing.F) {
	d := diskfault.New(1)
	l, _ := open(f, d)
	f.Add(contents(f, d))
	appendAll(f, l, "one", "two", "three")
	full := contents(f, d)
	f.Add(full)
	f.Add(full[:len(full)-3])
	f.Add(append(full, make([]byte, 40)...))
	f.Add([]byte("mcupgrade log 1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := withContents(t, b)
		l, recs, err := tryOpen(d)
		if err != nil {
			if !errors.Is(err, filestore.ErrCorrupt) {
				t.Fatalf("%v is not ErrCorrupt", err)
			}
			return
		}
		if l.Size()+l.Torn() != int64(len(b)) {
			t.Fatalf("%d bytes kept and %d cut of %d", l.Size(), l.Torn(), len(b))
		}
		appendAll(t, l, "more")
		l, again := open(t, d)
		if !slices.Equal(again, append(recs, "more")) || l.Torn() != 0 {
			t.Fatalf("got %q, torn %d, after an append to %q", again, l.Torn(), recs)
		}
	})
}
