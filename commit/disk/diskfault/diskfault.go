// Package diskfault is a disk in memory, for tests, that loses what a real one may lose. It counts the operations that
// change it, fails any of them, or cuts the power there: then of everything not synced an arbitrary part survives, chosen
// by a seed, writes torn at any byte included.
package diskfault

import (
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"sync"
)

// ErrCrashed is returned by every operation from the power cut to [Disk.Restart], and for good by files opened before.
var ErrCrashed = errors.New("diskfault: power is off")

// A Disk is a simulated disk; it implements [disk.FS]. Use [New].
type Disk struct {
	mu    sync.Mutex
	rng   *rand.Rand
	boot  int // how often it was restarted; older handles are dead
	down  bool
	ops   int
	at    map[int]error // operation number → what happens there; ErrCrashed cuts the power
	free  int64
	names map[string]*node // as the running system sees them
	kept  map[string]*node // as they are on the platter
	queue []nameChange     // from names, not yet in kept, in order
	locks map[string]bool
}

// A node is a file or a directory.
type node struct {
	dir    bool
	mode   fs.FileMode
	data   []byte // as the running system sees it
	stored []byte // what is on the platter
	queue  []change
}

// A change is a write or a truncation not yet synced.
type change struct {
	off      int64
	data     []byte
	truncate bool // to off
}

// A nameChange takes a name away, gives a node a name, or both at once, as rename does.
type nameChange struct {
	from, to string // "" for none
	node     *node

	fromSynced, toSynced bool // the directory of from, or of to, was synced since
}

// New returns an empty disk with 1 GiB free, on which everything works until told otherwise.
func New(seed uint64) *Disk {
	root := &node{dir: true, mode: 0o700}
	return &Disk{
		rng:   rand.New(rand.NewPCG(seed, 0)),
		at:    map[int]error{},
		free:  1 << 30,
		names: map[string]*node{".": root},
		kept:  map[string]*node{".": root},
		locks: map[string]bool{},
	}
}

// Ops returns how many operations have changed the disk so far: file made, write, truncate, sync, rename, remove,
// mkdir, directory sync.
func (d *Disk) Ops() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops
}

// CrashAt cuts the power at the nth changing operation from now; 1 is the next.
func (d *Disk) CrashAt(n int) { d.FailAt(n, ErrCrashed) }

// FailAt lets the nth changing operation from now fail with err, which is [ErrCrashed], or for example syscall.EIO.
// A Sync that fails leaves its writes on the platter in any state, and no later Sync repairs that.
func (d *Disk) FailAt(n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at[d.ops+n] = err
}

// SetFree sets how many bytes may still be written before ENOSPC.
func (d *Disk) SetFree(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free = n
}

// Crash cuts the power now.
func (d *Disk) Crash() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.crash()
}

// Restart brings the power back: the disk holds what survived. It cuts the power first if it is on. Planned failures
// are forgotten.
func (d *Disk) Restart() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.crash()
	d.down = false
	d.boot++
	clear(d.at)
}

func (d *Disk) crash() {
	if d.down {
		return
	}
	d.down = true
	d.locks = map[string]bool{}
	survives := d.survival()
	for _, c := range d.queue {
		if survives() {
			c.apply(d.kept)
		}
	}
	d.queue = nil
	for _, name := range slices.Sorted(maps.Keys(d.kept)) { // sorted, so that a seed always gives the same
		n := d.kept[name]
		if parent := d.kept[path.Dir(name)]; parent == nil || !parent.dir {
			delete(d.kept, name) // its directory was never durable
			continue
		}
		n.lose(d.rng, survives)
		n.data = slices.Clone(n.stored)
	}
	d.names = maps.Clone(d.kept)
}

// survival draws how kind this crash is: everything unsynced lost, everything kept, or each by itself.
func (d *Disk) survival() func() bool {
	switch d.rng.IntN(4) {
	case 0:
		return func() bool { return false }
	case 1:
		return func() bool { return true }
	default:
		return func() bool { return d.rng.IntN(2) == 0 }
	}
}

func (c nameChange) apply(names map[string]*node) {
	if c.from != "" {
		delete(names, c.from)
	}
	if c.to != "" {
		names[c.to] = c.node
	}
}

// lose settles the unsynced changes of n: each survives, does not, or (a write) survives in part.
func (n *node) lose(rng *rand.Rand, survives func() bool) {
	for _, c := range n.queue {
		if !survives() {
			continue
		}
		if !c.truncate && rng.IntN(2) == 0 { // torn: an arbitrary piece of it
			from := rng.IntN(len(c.data) + 1)
			to := from + rng.IntN(len(c.data)-from+1)
			if rng.IntN(2) == 0 {
				from = 0 // the usual case: the head of it
			}
			c = change{off: c.off + int64(from), data: c.data[from:to]}
		}
		n.stored = c.apply(n.stored)
	}
	n.queue = nil
}

func (c change) apply(b []byte) []byte {
	if c.truncate {
		if int64(len(b)) > c.off {
			return b[:c.off:c.off]
		}
		return append(b, make([]byte, c.off-int64(len(b)))...)
	}
	if len(c.data) == 0 {
		return b
	}
	if grow := c.off + int64(len(c.data)) - int64(len(b)); grow > 0 {
		b = append(b, make([]byte, grow)...)
	}
	copy(b[c.off:], c.data)
	return b
}

// step counts a changing operation. When the power goes out here, do runs first if it is not nil, so that its effect is
// among those that may survive.
func (d *Disk) step(do func()) error {
	if d.down {
		return ErrCrashed
	}
	d.ops++
	switch err := d.at[d.ops]; err {
	case nil:
		if do != nil {
			do()
		}
		return nil
	case ErrCrashed:
		if do != nil {
			do()
		}
		d.crash()
		return ErrCrashed
	default:
		return err
	}
}
