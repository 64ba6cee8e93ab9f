package upgrade

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/merkle"
	"github.com/multicast-upgrade/tool/norm"
)

// A seed is a file on the device that may have leaves of the image to come: the image that runs, most of all. It is only
// read, and proves nothing: a leaf that is copied from it is hashed like one that came over the network, so that whoever
// could write to it can cost the device some time and no more.
//
// A leaf is found wherever it stands in a seed at a multiple of the leaf size. To find it anywhere takes a hash that can be
// rolled from byte to byte, and a manifest has none: so what an insertion of odd length has shifted is not found. Images
// of file systems move by whole blocks, and A/B images not at all.
type seed struct {
	name string // for people
	open func() (disk.File, error)
}

// seeds returns what may have leaves of an image. One that is encrypted, with a key of its own, shares none with another.
func (a *Agent) seeds(ctx context.Context, m *manifest.Manifest, entry *manifest.Image) (all []seed) {
	image := entry.Name
	if entry.Sealed != nil {
		return nil
	}
	if name := currentDir + "/" + image; exists(a.fs, name) {
		all = append(all, seed{name, func() (disk.File, error) { return a.fs.OpenFile(name, os.O_RDONLY, 0) }})
	}
	if s := a.cfg.Slots; s != nil {
		if im, err := s.imageOf(m); err == nil && im.Name == image {
			all = append(all, seed{"the slot that runs", func() (disk.File, error) { return s.openRunning(ctx) }})
		}
	}
	for _, path := range a.cfg.Seeds {
		all = append(all, seed{path, func() (disk.File, error) { return openSeed(path, image) }})
	}
	return all
}

// openSeed opens a file or block device, or that of a directory which has the image's name.
func openSeed(path, image string) (disk.File, error) {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		path = filepath.Join(path, image)
		info, err = os.Stat(path)
	}
	if err != nil {
		return nil, err
	}
	if mode := info.Mode(); !mode.IsRegular() && mode.Type() != os.ModeDevice {
		return nil, fmt.Errorf("%s is neither a file nor a block device", path) // opening it might wait for ever
	}
	return disk.OpenDevice(path, false)
}

// openRunning opens the slot that runs, to be read.
func (s *Slots) openRunning(ctx context.Context) (disk.File, error) {
	other, err := s.inactive(ctx)
	if err != nil {
		return nil, err
	}
	running := s.Of[0]
	if running == other {
		running = s.Of[1]
	}
	return s.Open(running.Path, false)
}

// seeded reports whether the device has anything that may have leaves of an image: then it asks for what it lacks when it
// has looked there, and the server need not send what nobody asks for.
func (a *Agent) seeded() bool {
	if a.cfg.Slots != nil || len(a.cfg.Seeds) > 0 {
		return true
	}
	for _, dir := range []string{currentDir, stagesDir} {
		if entries, err := a.fs.ReadDir(dir); err == nil && len(entries) > 0 {
			return true
		}
	}
	return false
}

// A wanted leaf is one that is missing, with the hash it has to have. A search has one for each leaf, at most
// merkle.MaxLeaves, 40 bytes each.
type wantedLeaf struct {
	hash hash
	leaf int
}

// wanted returns the missing leaves whose hash is known, by hash.
func (im *stagedImage) wanted() (all []wantedLeaf) {
	im.mu.Lock()
	defer im.mu.Unlock()
	for first, end := range im.v.Ranges(false) {
		for leaf := first; leaf < end; leaf++ {
			if h, ok := im.v.Expected(leaf); ok {
				all = append(all, wantedLeaf{h, leaf})
			}
		}
	}
	slices.SortFunc(all, func(a, b wantedLeaf) int { return bytes.Compare(a.hash[:], b.hash[:]) })
	return all
}

// recheck looks at the leaves that the image's own file may have had before, one by one so that what arrives meanwhile
// need not wait.
func (im *stagedImage) recheck(ctx context.Context, found func([]leafEvent)) (err error) {
	for leaf := 0; leaf < im.entry.Leaves() && err == nil && ctx.Err() == nil; leaf++ {
		im.mu.Lock()
		if !im.v.Verified(leaf) {
			err = im.v.Recheck(leaf, leaf+1)
		}
		events := slices.Collect(im.v.Events())
		im.mu.Unlock()
		found(events)
	}
	return err
}

// glean copies the leaves that are missing from a seed.
func (im *stagedImage) glean(ctx context.Context, from disk.File, found func([]leafEvent)) error {
	wanted := im.wanted()
	size, err := from.Size()
	if err != nil || len(wanted) == 0 {
		return err
	}
	last := im.bytes(im.entry.Leaves()-1, im.entry.Leaves())
	for off := int64(0); off < size; off += im.entry.LeafSize {
		lengths := []int64{min(im.entry.LeafSize, size-off)}
		if off == last.off && last.length < lengths[0] {
			lengths = append(lengths, last.length) // the image ends within this one
		}
		for _, length := range lengths {
			h, err := hashAt(from, span{off, length}, im.entry.LeafSize)
			if err != nil {
				return err
			}
			i, _ := slices.BinarySearchFunc(wanted, h, func(w wantedLeaf, h hash) int { return bytes.Compare(w.hash[:], h[:]) })
			for ; i < len(wanted) && wanted[i].hash == h; i++ { // several, such as those that are empty
				if err := im.copyLeaf(wanted[i].leaf, from, off, found); err != nil {
					return err
				}
			}
		}
		if ctx.Err() != nil || im.done() {
			return nil
		}
	}
	return nil
}

// hashAt returns the hash of some bytes, at most a leaf, of a file.
func hashAt(f io.ReaderAt, s span, leafSize int64) (hash, error) {
	w := merkle.NewWriter(leafSize)
	n, err := io.CopyBuffer(w, io.NewSectionReader(f, s.off, s.length), make([]byte, min(s.length, copySize)))
	if err == nil && n != s.length {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return hash{}, err
	}
	return w.Leaves()[0], nil
}

// copyLeaf copies a leaf, unless it has come meanwhile.
func (im *stagedImage) copyLeaf(leaf int, from io.ReaderAt, off int64, found func([]leafEvent)) error {
	to := im.bytes(leaf, leaf+1)
	b := make([]byte, min(to.length, copySize))
	for to.length > 0 && !im.verified(leaf) {
		b = b[:min(to.length, copySize)]
		if _, err := from.ReadAt(b, off); err != nil && err != io.EOF {
			return err
		}
		events, err := im.put(b, to.off)
		found(events)
		if err != nil {
			return err
		}
		n := int64(len(b))
		off, to.off, to.length = off+n, to.off+n, to.length-n
	}
	return nil
}

// copySize is how much of a seed is in memory at a time.
const copySize = 64 << 10

// A gleaning is a search for leaves on the device, beside the reception. As long as it is under way no leaves are asked for.
type gleaning struct {
	wanted, busy bool
	found        chan gleaned
	work         sync.WaitGroup
}

// A gleaned is what a search found of an image; over says that it was the end of it.
type gleaned struct {
	image  int
	events []leafEvent
	over   bool
}

// expectSeeds decides whether to search, before the session is joined: not if the device has nothing to look at.
func (r *reception) expectSeeds(ctx context.Context) {
	r.gleaning.found = make(chan gleaned)
	for _, im := range r.stage.images {
		r.gleaning.wanted = r.gleaning.wanted || !im.done() && (im.old || len(r.a.seeds(ctx, r.stage.m, im.entry)) > 0)
	}
}

// glean begins the search when all hashes are known.
func (r *reception) glean(ctx context.Context) {
	g := &r.gleaning
	if !g.wanted || g.busy || r.done || !r.stage.hashes.complete() {
		return
	}
	g.busy = true
	g.work.Go(func() {
		for i, im := range r.stage.images {
			tell := func(events []leafEvent) {
				if len(events) > 0 {
					r.gleanedSome(ctx, gleaned{image: i, events: events})
				}
			}
			if im.old {
				r.noteSeed("the old image", im.recheck(ctx, tell))
			}
			for _, s := range r.a.seeds(ctx, r.stage.m, im.entry) {
				f, err := s.open()
				if err == nil {
					err = errors.Join(im.glean(ctx, f, tell), f.Close())
				}
				r.noteSeed(s.name, err)
			}
		}
		r.gleanedSome(ctx, gleaned{over: true})
	})
}

func (r *reception) gleanedSome(ctx context.Context, g gleaned) {
	select {
	case r.gleaning.found <- g:
	case <-ctx.Done():
	}
}

// noteSeed notes that a seed is of no use, which is no reason not to receive.
func (r *reception) noteSeed(name string, err error) {
	if err != nil {
		r.a.log.Warn("the device cannot be searched for what it has of the image", "in", name, "error", err)
	}
}

// gleanedPart takes what a search found, and at its end asks for what it did not.
func (r *reception) gleanedPart(ctx context.Context, g gleaned) {
	if r.done {
		return
	}
	if !g.over {
		r.leaves(ctx, g.image, g.events)
		return
	}
	r.gleaning.wanted, r.gleaning.busy = false, false
	if r.net != nil {
		r.net.setNack(ctx, norm.NackAll)
	}
	have, total := r.stage.progress()
	r.a.tell.tell(Event{Kind: EventSearched, Campaign: r.c.round.Campaign.String(), State: commit.StateReceiving, Bytes: have, Total: total})
}
