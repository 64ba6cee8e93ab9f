package upgrade

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/commit/disk/diskfault"
)

// A crashWorld is a server, devices and what lies between them, in virtual time and from one seed. Each party has a disk of
// its own, on which anything can go wrong at any operation. The network loses, delays, repeats and reorders. Devices are
// real Agents, whose loop, goroutines and HTTP the world stands in for; the server is a real coordinator for each campaign.
//
// From calm on nothing goes wrong any more, and everything has to come to its end.
type crashWorld struct {
	crashScenario
	rng     *rand.Rand
	now     time.Duration // since crashStart
	queue   eventQueue
	seq     int
	server  *crashServer
	devices []*crashDevice
	rules   crashRules
	faults  faultSource
	mutant  mutant            // what is broken on purpose
	trace   func(line string) // nil: nobody reads it
}

var crashStart = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	calmAfter = 3 * time.Hour       // virtual time from which on nothing goes wrong
	endAfter  = 40 * 24 * time.Hour // by which all has to have ended
	maxEvents = 60_000              // which is many more than any run has
)

// A violation is a broken rule.
type violation struct{ text string }

func (v violation) Error() string { return v.text }

// broken ends the run.
func (w *crashWorld) broken(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.logf("RULE BROKEN: %s", text)
	panic(violation{text})
}

func (w *crashWorld) logf(format string, args ...any) {
	if w.trace != nil {
		w.trace(fmt.Sprintf("%-13s %s", w.now.Round(time.Millisecond), fmt.Sprintf(format, args...)))
	}
}

func (w *crashWorld) calm() bool { return w.now >= calmAfter }

// chance reports true with probability p while it is not calm.
func (w *crashWorld) chance(p float64) bool { return w.rng.Float64() < p && !w.calm() }

func (w *crashWorld) between(from, to time.Duration) time.Duration {
	return from + time.Duration(w.rng.Int64N(int64(to-from)))
}

// An event is something that is due.
type event struct {
	at  time.Duration
	seq int // of two at one time, the one that was planned first
	f   func()
}

type eventQueue []event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *eventQueue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	*q = (*q)[:last]
	return e
}

// after plans f.
func (w *crashWorld) after(d time.Duration, f func()) {
	w.seq++
	heap.Push(&w.queue, event{w.now + d, w.seq, f})
}

// send gives the network a message, and may lose it, deliver it twice, and late.
func (w *crashWorld) send(deliver func()) {
	copies := 1
	switch {
	case w.chance(w.loss):
		copies = 0
	case w.chance(w.loss):
		copies = 2
	}
	for range copies {
		delay := w.between(time.Millisecond, time.Second)
		if w.chance(0.1) {
			delay = w.between(time.Second, 10*time.Minute)
		}
		w.after(delay, deliver)
	}
}

// newCrashWorld sets up a run.
func newCrashWorld(s crashScenario, seed uint64, faults faultSource) *crashWorld {
	w := &crashWorld{crashScenario: s, rng: rand.New(rand.NewPCG(seed, 1)), faults: faults}
	w.rules.init(w)
	w.server = newCrashServer(w)
	for i := range s.devices {
		w.devices = append(w.devices, newCrashDevice(w, i))
	}
	return w
}

// run lets everything happen, and returns the rule that was broken, if one was.
func (w *crashWorld) run() (err error) {
	defer func() {
		if v, ok := recover().(violation); ok {
			err = v
		}
	}()
	w.server.start()
	for _, d := range w.devices {
		d.start()
	}
	w.planOperator()
	for n := 0; len(w.queue) > 0; n++ {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		if w.now > endAfter || n > maxEvents {
			w.broken("no end: %s", w.describe())
		}
		e.f()
		w.rules.always()
		if w.ended() {
			w.rules.atEnd()
			return nil
		}
	}
	w.broken("nothing more happens: %s", w.describe())
	return nil
}

// describe says where everybody is.
func (w *crashWorld) describe() string {
	all := []string{w.server.describe()}
	for _, d := range w.devices {
		all = append(all, d.describe())
	}
	return strings.Join(all, "; ")
}

// ended reports whether there is nothing left to be waited for.
func (w *crashWorld) ended() bool {
	if !w.server.ended() {
		return false
	}
	for _, d := range w.devices {
		if !d.ended() {
			return false
		}
	}
	return true
}

// A party is who can crash.
type party struct {
	w    *crashWorld
	name string
	disk *diskfault.Disk
	up   bool
	life int // of the process
	boot int // of the system
}

func newParty(w *crashWorld, name string, index int) party {
	p := party{w: w, name: name, disk: diskfault.New(w.rng.Uint64()), boot: 1}
	p.disk.Inject(func(op diskfault.Op) diskfault.Fault {
		if w.calm() {
			return diskfault.None
		}
		f := w.faults.at(w, index, op)
		if f != diskfault.None {
			w.rules.fault(name, op, f)
			w.logf("%s: %s at operation %s", name, f, op)
		}
		return f
	})
	return p
}

// begin starts the process, after Restart where the last one was ended by a fault.
func (p *party) begin() {
	if p.disk.Down() != nil {
		if p.disk.Down() == diskfault.ErrCrashed {
			p.boot++
		}
		p.disk.Restart()
	}
	p.life++
	p.up = true
	p.w.logf("%s: starts, boot %d", p.name, p.boot)
}

// end ends the process, and has start called later.
func (p *party) end(why string, start func()) {
	if !p.up {
		return
	}
	p.up = false
	p.disk.Kill() // its files are closed; nothing happens if worse has
	p.w.logf("%s: down: %s (%v)", p.name, why, p.disk.Down())
	wait := p.w.between(time.Second, 3*time.Minute)
	if p.w.chance(0.1) {
		wait = p.w.between(time.Hour, 2*time.Hour) // past deadlines
	}
	if p.disk.Down() == diskfault.ErrKilled && p.w.chance(0.2) {
		p.w.after(wait/2, p.disk.Crash) // the power goes while nothing runs
	}
	p.w.after(wait, start)
}

// during returns f as something that is dropped if the process has ended by then.
func (p *party) during(f func()) func() {
	life := p.life
	return func() {
		if p.up && p.life == life {
			f()
		}
	}
}
