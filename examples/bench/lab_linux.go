package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/multicast-upgrade/tool/internal/netns"
)

// A lab is where trials are made: networks, programs, files. It owns the namespaces as a test would.
type lab struct {
	ctx      context.Context
	dir      string // everything is in it, and gone with it
	self     string // our own program
	source   string // the root of the module
	cleanups []func()

	nets  map[int]*netns.Net // by the number of receivers
	files map[int64]*image   // by size
}

// A failure ends the run.
type failure struct{ error }

func newLab(ctx context.Context, dir string) (*lab, error) {
	l := &lab{ctx: ctx, nets: make(map[int]*netns.Net), files: make(map[int64]*image)}
	var err error
	if l.dir, err = os.MkdirTemp(dir, "norm-bench-"); err != nil {
		return nil, err
	}
	l.Cleanup(func() { os.RemoveAll(l.dir) })
	if l.self, err = os.Executable(); err == nil {
		l.source, err = output(ctx, "go", "list", "-m", "-f", "{{.Dir}}")
	}
	return l, err
}

// close removes what the lab has made, the newest first.
func (l *lab) close() {
	for _, f := range slices.Backward(l.cleanups) {
		f()
	}
	l.cleanups = nil
}

// build builds the commands of this module and returns an error if that fails.
func (l *lab) build() error {
	_, err := output(l.ctx, "go", "build", "-C", l.source, "-o", l.dir, "./cmd/normsend", "./cmd/normrecv")
	return err
}

// program is the path of a program that was built.
func (l *lab) program(name string) string { return filepath.Join(l.dir, name) }

// net returns the network with so many receivers: host 0 sends.
func (l *lab) net(receivers int) *netns.Net {
	if l.nets[receivers] == nil {
		l.nets[receivers] = netns.New(l, 1+receivers)
	}
	return l.nets[receivers]
}

// output runs a command and returns what it printed, without the end of the line.
func output(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if e, ok := errors.AsType[*exec.ExitError](err); ok && len(e.Stderr) > 0 {
		first, _, _ := strings.Cut(strings.TrimSpace(string(e.Stderr)), "\n")
		return "", fmt.Errorf("%s: %w: %s", name, err, first)
	}
	return strings.TrimSpace(string(out)), err
}

// What follows makes a lab a netns.TB.

func (l *lab) Helper()                  {}
func (l *lab) Context() context.Context { return l.ctx }
func (l *lab) Cleanup(f func())         { l.cleanups = append(l.cleanups, f) }
func (l *lab) TempDir() string          { return l.dir }
func (l *lab) Failed() bool             { return false }

func (l *lab) Logf(format string, args ...any)   { fmt.Fprintf(os.Stderr, format+"\n", args...) }
func (l *lab) Errorf(format string, args ...any) { l.Fatalf(format, args...) }
func (l *lab) Fatal(args ...any)                 { panic(failure{errors.New(fmt.Sprint(args...))}) }
func (l *lab) Fatalf(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }
func (l *lab) Skip(args ...any)                  { l.Fatal(args...) }
func (l *lab) Skipf(format string, args ...any)  { l.Fatalf(format, args...) }
