// Package diskfault is a disk in memory, for tests, that loses what a real one may lose.
//
// It numbers the operations that reach the medium, and a test says of each what goes wrong there ([Disk.Inject]): the power
// is cut, the process is killed, there is no room, the operation fails, what is written or read differs in a bit. A test
// counts the operations of a run in which nothing fails, and then has each [Fault] at each of them.
//
// When the power is cut, of everything not synced an arbitrary part survives, chosen by a seed: writes in any order, torn at
// any byte or with any of their sectors, the size of a file without its bytes, names of a directory in any combination. A
// Sync that fails leaves its writes on the medium in any state, while memory goes on to show them until it is dropped, and no
// later Sync repairs that. When the process is killed, memory keeps what was not synced.
package diskfault

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"sync"
)

var (
	// ErrCrashed is returned by every operation from the power cut to [Disk.Restart], and for good by files opened before.
	ErrCrashed = errors.New("diskfault: power is off")
	// ErrKilled is the same after the process was killed. It is an ErrCrashed.
	ErrKilled = fmt.Errorf("process was killed: %w", ErrCrashed)
)

// A Disk is a simulated disk; it implements [disk.FS]. Use [New].
type Disk struct {
	mu    sync.Mutex
	rng   *rand.Rand
	boot  int           // how often it was restarted; older handles are dead
	down  error         // ErrCrashed or ErrKilled, until Restart
	ops   int           // that change it
	seen  int           // those, and reads of the medium
	at    map[int]error // operation number → what happens there; ErrCrashed cuts the power
	hook  func(Op) Fault
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
	cold   bool // reads come from the platter: nothing was written since it was dropped from memory
}

// A change is a write or a truncation not yet synced.
type change struct {
	off      int64
	data     []byte
	truncate bool // to off
	grow     bool // and never to less than it is
	rotten   int  // bit of data, counted from 1, that the platter gets wrong; 0: none
}

// A nameChange takes a name away, gives a node a name, or both at once, as rename does.
type nameChange struct {
	from, to string // "" for none
	node     *node
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

// Down returns ErrCrashed or ErrKilled until Restart, and nil while the disk can be used.
func (d *Disk) Down() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.down
}

// Crash cuts the power now.
func (d *Disk) Crash() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.crash()
}

// Kill ends the process that uses the disk: its files and locks are gone, and memory keeps what was not synced.
func (d *Disk) Kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kill()
}

func (d *Disk) kill() {
	if d.down == nil {
		d.down, d.locks = ErrKilled, map[string]bool{}
	}
}

// Restart brings the power back, after Crash, or starts another process, after Kill: the disk holds what survived. It cuts
// the power first if neither was. Planned failures are forgotten; what Inject was given is not.
func (d *Disk) Restart() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down == nil {
		d.crash()
	}
	d.down = nil
	d.boot++
	clear(d.at)
}

// crash cuts the power, of a system whose process was killed as well.
func (d *Disk) crash() {
	if d.down == ErrCrashed {
		return
	}
	d.down = ErrCrashed
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
		n.data, n.cold = slices.Clone(n.stored), true
	}
	d.names = maps.Clone(d.kept)
}

// Medium returns the disk as it is if nothing survives that is not synced: what a promise may rest on. It is to be read,
// until d is changed; what it holds is not copied.
func (d *Disk) Medium() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := New(0)
	for name, n := range d.kept {
		m.names[name] = &node{dir: n.dir, mode: n.mode, data: n.stored}
	}
	return m
}

// Clone returns a disk with the same content, synced and not, as a copy of it made now would be after a power cut that
// nothing was lost in.
func (d *Disk) Clone(seed uint64) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := New(seed)
	for name, n := range d.names {
		c.names[name] = &node{dir: n.dir, mode: n.mode, data: slices.Clone(n.data), stored: slices.Clone(n.data), cold: true}
	}
	c.kept = maps.Clone(c.names)
	return c
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

// sector is what a disk writes whole or not at all.
const sector = 512

// lose settles the unsynced changes of n: each survives, does not, or (a write) survives in part.
func (n *node) lose(rng *rand.Rand, survives func() bool) {
	for _, c := range n.queue {
		if !survives() {
			continue
		}
		for _, piece := range c.tear(rng) {
			n.stored = piece.apply(n.stored)
		}
	}
	n.queue = nil
}

// tear returns what is left of a write that survives: all, a piece at any byte, some of its sectors, or just the place it takes.
func (c change) tear(rng *rand.Rand) (pieces []change) {
	if c.truncate || len(c.data) == 0 {
		return []change{c}
	}
	c = c.rot()
	cut := func(from, to int) change { return change{off: c.off + int64(from), data: c.data[from:to]} }
	switch rng.IntN(8) {
	case 0: // an arbitrary piece
		from := rng.IntN(len(c.data) + 1)
		return []change{cut(from, from+rng.IntN(len(c.data)-from+1))}
	case 1, 2: // the head of it
		return []change{cut(0, rng.IntN(len(c.data)+1))}
	case 3: // the file has grown, and what was written is not there
		return []change{{off: c.off + int64(len(c.data)), truncate: true, grow: true}}
	case 4:
		for from := 0; from < len(c.data); {
			to := min(len(c.data), from+sector-int((c.off+int64(from))%sector))
			if rng.IntN(2) == 0 {
				pieces = append(pieces, cut(from, to))
			}
			from = to
		}
		return pieces
	}
	return []change{c}
}

// rot returns the write as the platter gets it.
func (c change) rot() change {
	if c.rotten == 0 || len(c.data) == 0 {
		return c
	}
	c.data = slices.Clone(c.data)
	flip(c.data, c.rotten-1)
	return c
}

func flip(b []byte, bit int) { b[bit/8] ^= 1 << (bit % 8) }

func (c change) apply(b []byte) []byte {
	if c.truncate {
		if int64(len(b)) >= c.off {
			if c.grow {
				return b
			}
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
