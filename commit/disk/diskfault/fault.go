package diskfault

import (
	"fmt"
	"syscall"
)

// A Kind is what an operation does.
type Kind uint8

const (
	Create Kind = iota + 1
	Write
	Truncate
	Sync
	Rename
	Remove
	Mkdir
	SyncDir
	Read // of the medium: of what is not in memory
)

func (k Kind) String() string {
	if names := []string{"", "create", "write", "truncate", "sync", "rename", "remove", "mkdir", "sync-dir", "read"}; int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// An Op is an operation that reaches the medium.
type Op struct {
	N    int // counted from 1
	Kind Kind
	Name string // of the file or directory; of a rename, the new name
}

func (o Op) String() string { return fmt.Sprintf("%d %s %s", o.N, o.Kind, o.Name) }

// A Fault is what goes wrong with an operation.
type Fault uint8

const (
	None       Fault = iota
	Cut              // the power is cut while it is done: what it does is among what survives or not
	CutAfter         // the power is cut when it is done
	KillBefore       // the process is killed, and the operation has not begun
	KillAfter        // the process is killed when it is done
	NoSpace          // ENOSPC
	Failed           // EIO; see [disk.File.Sync] for what that means for a Sync
	Rot              // the medium gets a bit of what is written wrong, while memory has it right
	Misread          // what comes from the medium is wrong in a bit, and stays so in memory until it is dropped from there
)

func (f Fault) String() string {
	if names := []string{"none", "power cut during", "power cut after", "kill before", "kill after", "no space", "failed", "rot", "misread"}; int(f) < len(names) {
		return names[f]
	}
	return fmt.Sprintf("fault %d", uint8(f))
}

// Faults returns what can go wrong with an operation of a kind. A power cut before it is that during it, or after the one
// before it.
func (k Kind) Faults() []Fault {
	switch k {
	case Read:
		return []Fault{Cut, KillBefore, Failed, Misread}
	case Sync, SyncDir:
		return []Fault{Cut, CutAfter, KillBefore, KillAfter, Failed}
	case Write:
		return []Fault{Cut, KillBefore, KillAfter, Failed, NoSpace, Rot}
	case Create, Mkdir:
		return []Fault{Cut, KillBefore, KillAfter, Failed, NoSpace}
	}
	return []Fault{Cut, KillBefore, KillAfter, Failed}
}

// Inject has f say what goes wrong with each operation; nil: nothing but what is planned by FailAt and CrashAt. It is called
// with the disk locked, and must not call it.
func (d *Disk) Inject(f func(Op) Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hook = f
}

// Seen returns how many operations have reached the medium: those that Ops counts, and reads.
func (d *Disk) Seen() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen
}

// meet counts an operation and returns what goes wrong with it.
func (d *Disk) meet(kind Kind, name string) Fault {
	d.seen++
	if d.hook == nil {
		return None
	}
	return d.hook(Op{d.seen, kind, name})
}

// step does what changes the disk, unless something goes wrong with it.
func (d *Disk) step(kind Kind, name string, do func(rot bool)) error {
	if d.down != nil {
		return d.down
	}
	d.ops++
	fault := d.meet(kind, name)
	if err := d.at[d.ops]; err == ErrCrashed {
		fault = Cut
	} else if err != nil {
		return err
	}
	switch fault {
	case Cut:
		if kind != Sync && kind != SyncDir { // those promise nothing before they are done
			do(false)
		}
		d.crash()
	case CutAfter:
		do(false)
		d.crash()
	case KillBefore:
		d.kill()
	case KillAfter:
		do(false)
		d.kill()
	case NoSpace:
		return syscall.ENOSPC
	case Failed:
		return syscall.EIO
	default:
		do(fault == Rot)
	}
	return d.down
}
