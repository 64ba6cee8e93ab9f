package main

import (
	"log"
	"sync"

	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/merkle"
	"github.com/multicast-upgrade/tool/norm"
)

// A flash is storage that takes bytes in any order. Yours writes to a partition.
type flash []byte

func (f flash) WriteAt(b []byte, off int64) (int, error) { return copy(f[off:], b), nil }
func (f flash) ReadAt(b []byte, off int64) (int, error)  { return copy(b, f[off:]), nil }

// A slot is where the new image goes. The session's workers write to it while the program asks about it, and a
// Verifier wants one caller at a time.
type slot struct {
	flash flash

	mu sync.Mutex
	v  *merkle.Verifier // guarded by mu
}

func newSlot(im manifest.Image) *slot {
	f := make(flash, im.Size)
	return &slot{flash: f, v: must(merkle.NewVerifier(f, im.Size, im.LeafSize))}
}

func (s *slot) WriteAt(b []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.v.WriteAt(b, off)
}

func (s *slot) ReadAt(b []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.v.ReadAt(b, off)
}

// expect says what the leaves from first on have to hash to.
func (s *slot) expect(first int, leaves []merkle.Hash) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.v.Expect(first, leaves)
}

// wrong returns the bytes of the leaves that were thrown away since it was last asked.
func (s *slot) wrong() (ranges []norm.Range) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := range s.v.Events() {
		if !e.Verified {
			off, n := s.v.Bytes(e.First, e.End)
			ranges = append(ranges, norm.Range{Offset: off, Length: n})
		}
	}
	return ranges
}

func (s *slot) done() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.v.Done()
}

func must[T any](v T, err error) T { check(err); return v }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
