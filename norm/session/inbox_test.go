package session_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/session"
)

// openInbox returns an Inbox for the directory "out" beneath a directory of its own.
func openInbox(t *testing.T) (in *session.Inbox, above string) {
	t.Helper()
	above = t.TempDir()
	out := filepath.Join(above, "out")
	if err := os.Mkdir(out, 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(out)
	if err != nil {
		t.Fatal(err)
	}
	in = session.NewInbox(root)
	t.Cleanup(in.Close)
	return in, above
}

// tree returns all files beneath a directory with their content; directories have the content "/".
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		files[filepath.ToSlash(name)] = "/"
		if d.Type().IsRegular() {
			b, err := os.ReadFile(path)
			files[filepath.ToSlash(name)] = string(b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func object(info, content string) norm.ReceivedObject {
	return norm.ReceivedObject{Sender: 7, ID: 1, Kind: norm.File, Size: int64(len(content)), HasInfo: true, Info: []byte(info), Complete: true}
}

// deliver offers an object, writes its bytes, and completes it.
func deliver(t *testing.T, in *session.Inbox, h norm.Handle, info, content string) (session.File, error) {
	t.Helper()
	o := object(info, content)
	sink := in.Offer(h, o)
	if sink == nil {
		r, _ := in.Refused(h)
		t.Fatalf("refused: %v", r.Err)
	}
	if _, err := sink.WriteAt([]byte(content), 0); err != nil {
		t.Fatal(err)
	}
	return in.Complete(h, o)
}

func TestInboxNamesCompleteFiles(t *testing.T) {
	in, above := openInbox(t)
	for i, name := range []string{"fw.bin", "release/2.1/fw.bin", "release/2.1/notes.txt"} {
		file, err := deliver(t, in, norm.Handle(i+1), name, "content of "+name)
		want := session.File{Name: name, Size: int64(len("content of " + name)), SHA256: sha256.Sum256([]byte("content of " + name))}
		if err != nil || file != want {
			t.Errorf("Complete: %+v, %v; want %+v", file, err, want)
		}
	}
	o := norm.ReceivedObject{Sender: 7, ID: 9, Size: 2}
	in.Offer(9, o).WriteAt([]byte("hi"), 0)
	if file, err := in.Complete(9, o); err != nil || file.Name != "object-7-9" {
		t.Errorf("an object without NORM_INFO: %+v, %v", file, err)
	}
	in.Close()
	want := map[string]string{
		"out": "/", "out/fw.bin": "content of fw.bin", "out/release": "/", "out/release/2.1": "/", "out/object-7-9": "hi",
		"out/release/2.1/fw.bin": "content of release/2.1/fw.bin", "out/release/2.1/notes.txt": "content of release/2.1/notes.txt",
	}
	if got := tree(t, above); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestAttackHostileName delivers whole objects under names that a stranger chose.
func TestAttackHostileName(t *testing.T) {
	for what, info := range hostileNames {
		t.Run(what, func(t *testing.T) {
			in, above := openInbox(t)
			if file, err := deliver(t, in, 1, info, "hostile"); !errors.Is(err, session.ErrName) {
				t.Errorf("Complete: %+v, %v; want ErrName", file, err)
			}
			if got, want := tree(t, above), (map[string]string{"out": "/"}); !maps.Equal(got, want) {
				t.Errorf("left behind %v", got)
			}
		})
	}
}

// TestNameInTheWay delivers objects whose harmless names meet something that is there already.
func TestNameInTheWay(t *testing.T) {
	in, above := openInbox(t)
	outside := filepath.Join(above, "outside")
	if err := errors.Join(
		os.Mkdir(outside, 0o755),
		os.WriteFile(filepath.Join(outside, "secret"), []byte("untouched"), 0o644),
		os.MkdirAll(filepath.Join(above, "out", "directory", "full"), 0o755),
		os.WriteFile(filepath.Join(above, "out", "file"), []byte("file"), 0o644),
		os.Symlink(outside, filepath.Join(above, "out", "link")),
		os.Symlink(filepath.Join(outside, "secret"), filepath.Join(above, "out", "linked")),
	); err != nil {
		t.Skip(err) // a system without symbolic links
	}
	want := tree(t, above)
	for i, name := range []string{"directory", "file/beneath", "link/secret", "link/new/secret"} {
		if file, err := deliver(t, in, norm.Handle(i+1), name, "hostile"); err == nil {
			t.Errorf("%s: %+v, want an error", name, file)
		}
		if got := tree(t, above); !maps.Equal(got, want) {
			t.Fatalf("%s: got %v, want %v", name, got, want)
		}
	}
	// A link itself is replaced like any file; what it points to is not.
	if _, err := deliver(t, in, 10, "linked", "new"); err != nil {
		t.Error(err)
	}
	want["out/linked"] = "new"
	if got := tree(t, above); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestInterruptedTransferLeavesTheOldFile(t *testing.T) {
	for what, interrupt := range map[string]func(in *session.Inbox){
		"aborted": func(in *session.Inbox) { in.Abort(1) },
		"closed":  func(in *session.Inbox) { in.Close() },
	} {
		t.Run(what, func(t *testing.T) {
			in, above := openInbox(t)
			path := filepath.Join(above, "out", "fw.bin")
			if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
				t.Fatal(err)
			}
			sink := in.Offer(1, object("fw.bin", "new content"))
			sink.WriteAt([]byte("new con"), 0)
			if got, err := os.ReadFile(path); err != nil || string(got) != "old" {
				t.Errorf("while receiving: %q, %v", got, err)
			}
			interrupt(in)
			if got, want := tree(t, above), (map[string]string{"out": "/", "out/fw.bin": "old"}); !maps.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestCompleteFileReplacesTheOldOne(t *testing.T) {
	in, above := openInbox(t)
	for i, content := range []string{"a long old content", "new"} {
		if _, err := deliver(t, in, norm.Handle(i+1), "fw.bin", content); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := tree(t, above), (map[string]string{"out": "/", "out/fw.bin": "new"}); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestNoSpaceIsFoundAtTheOffer counts in the objects that are on their way.
func TestNoSpaceIsFoundAtTheOffer(t *testing.T) {
	in, above := openInbox(t)
	in.Free = func() (int64, error) { return 100, nil }
	big := object("big", "")
	big.Size = 101
	if in.Offer(1, big) != nil {
		t.Fatal("accepted 101 bytes where 100 are free")
	}
	r, refused := in.Refused(1)
	if !refused || !errors.Is(r.Err, session.ErrNoSpace) || r.Object.Size != 101 || !strings.Contains(r.Err.Error(), "101 bytes, 100 are free") {
		t.Errorf("refused %v: %+v", refused, r)
	}
	if _, again := in.Refused(1); again {
		t.Error("told twice")
	}
	half := object("half", strings.Repeat("x", 60))
	sink := in.Offer(2, half)
	if sink == nil {
		t.Fatal("refused 60 bytes where 100 are free")
	}
	if in.Offer(3, half) != nil {
		t.Error("accepted twice 60 bytes where 100 are free")
	}
	sink.WriteAt(bytes.Repeat([]byte("x"), 60), 0) // from now on the file system counts them
	if in.Offer(4, half) == nil {
		t.Error("refused 60 bytes where 100 are free and nothing is missing")
	}
	in.Close()
	if got, want := slices.Sorted(maps.Keys(tree(t, above))), []string{"out"}; !slices.Equal(got, want) {
		t.Errorf("left behind %v", got)
	}
}

func TestWritable(t *testing.T) {
	in, above := openInbox(t)
	if err := in.Writable(); err != nil {
		t.Error(err)
	}
	if got := tree(t, above); len(got) != 1 {
		t.Errorf("left behind %v", got)
	}
	if err := os.Remove(filepath.Join(above, "out")); err != nil {
		t.Skip(err) // a system that keeps open directories
	}
	if in.Writable() == nil {
		t.Error("a directory that is gone is writable")
	}
}
