package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"time"
)

// A bench is one run of this program.
type bench struct {
	*lab
	options
	out     io.Writer
	began   time.Time
	systems []*system
	rates   map[string]float64 // the best rate found last, by system
	carried map[string]float64 // goodput of a raw blast, by its kind and how many receive it
	skipped int                // cases that there was no time for
}

const (
	fixedRate = 100e6 // at which time, memory and overhead are compared
	compared  = 4     // receivers, where systems are compared
	start     = 200e6 // where the search for a rate begins
)

func run(o options) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	l, err := newLab(ctx, o.dir)
	if err != nil {
		return err
	}
	defer l.close()
	defer func() {
		switch r := recover().(type) {
		case nil:
		case failure:
			err = r.error
		default:
			panic(r)
		}
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
	}()
	if os.Geteuid() != 0 {
		return errors.New("it makes network namespaces: run it as root")
	}
	b := &bench{lab: l, options: o, out: os.Stdout, began: time.Now(), rates: make(map[string]float64), carried: make(map[string]float64)}
	b.chooseSystems()
	b.describeMachine()
	b.measure()
	return nil
}

// chooseSystems takes those that can run here, and says why the others cannot.
func (b *bench) chooseSystems() {
	for _, s := range systems {
		if !slices.Contains(b.options.systems, s.name) {
			continue
		}
		if err := s.prepare(b.lab); err != nil {
			if s.name == "norm" {
				b.Fatal(err)
			}
			b.Logf("%s is left out: %v", s.name, err)
			continue
		}
		b.systems = append(b.systems, s)
	}
}

// measure makes all tables.
func (b *bench) measure() {
	n := b.receivers[len(b.receivers)-1]
	if slices.Contains(b.receivers, compared) {
		n = compared
	}
	largest, smallest := b.get(slices.Max(b.sizes)), b.get(slices.Min(b.sizes))

	b.title("Best goodput, frames of the size of the MTU")
	b.heads()
	b.grid(n)

	b.title("Best goodput, segmentation offload passes through")
	b.heads()
	b.best(trial{receivers: n, image: largest, offload: true}, "gso")

	b.title("At %.0f Mbit/s", fixedRate/1e6)
	b.heads()
	for _, loss := range b.losses {
		b.fixed(trial{receivers: n, loss: loss, image: smallest, rate: fixedRate})
	}
	if b.has("norm") {
		b.title("Congestion control (--rate auto)")
		b.heads()
		b.fixed(trial{receivers: n, image: largest})
	}
	if b.has("norm") && b.options.pace {
		b.title("How evenly normsend keeps a rate")
		b.paces()
	}
	if others := slices.DeleteFunc(slices.Clone(b.receivers), func(o int) bool { return o == n }); len(others) > 0 {
		b.title("Best goodput with other numbers of receivers")
		b.heads()
		for _, n := range others {
			b.grid(n)
		}
	}
	if b.skipped > 0 {
		b.note("%d cases are missing: there was no time for them (-budget %v).", b.skipped, b.budget)
	}
	b.note("Took %v.", time.Since(b.began).Round(time.Second))
}

// grid measures files of all sizes at all shares of loss.
func (b *bench) grid(receivers int) {
	for _, size := range b.sizes {
		for _, loss := range b.losses {
			b.best(trial{receivers: receivers, loss: loss, image: b.get(size)}, "sendto", "sendmmsg")
		}
	}
}

// has reports whether a system is measured.
func (b *bench) has(name string) bool {
	return slices.ContainsFunc(b.systems, func(s *system) bool { return s.name == name })
}

// get returns the file of a size.
func (b *bench) get(size int64) *image {
	m, err := b.image(size)
	if err != nil {
		b.Fatal(err)
	}
	return m
}

// inTime reports whether there is time for another case.
func (b *bench) inTime() bool {
	if time.Since(b.began) < b.budget {
		return true
	}
	b.skipped++
	return false
}

// measured are the systems for a case: ours alone with other numbers of receivers, and where large files lose something, for which
// others take minutes; unless all are wanted.
func (b *bench) measured(t trial) []*system {
	if b.all || t.receivers == compared && (t.image.size == slices.Min(b.sizes) || t.loss == 0) {
		return b.systems
	}
	return b.systems[:min(1, len(b.systems))]
}

// best measures each system at the rate that is best for it, in turn with blasts of the kinds given.
func (b *bench) best(t trial, blasts ...string) {
	if !b.inTime() {
		return
	}
	var found []rated
	most := b.sane(t, blasts[len(blasts)-1])
	for _, s := range b.measured(t) {
		from := b.rates[s.name]
		if from == 0 || t.offload {
			from = start
		}
		r := b.search(s, t, min(from, most), most)
		if r.err == nil {
			b.rates[s.name] = r.rate
		}
		found = append(found, r)
	}
	raw := make(map[string][]blasted)
	for range b.runs {
		b.interleave(found, t, 1)
		for _, how := range blasts {
			if t.loss == 0 {
				raw[how] = append(raw[how], b.blast(how, t))
			}
		}
	}
	b.rows(t, found)
	for _, how := range blasts {
		if len(raw[how]) > 0 {
			b.blastRow(t, how, medianBlast(raw[how]), found)
		}
	}
}

// sane returns the highest rate worth a trial: somewhat more than what a raw blast carries, as the rate of one burst is not that
// of all.
func (b *bench) sane(t trial, how string) float64 {
	key := fmt.Sprint(how, t.receivers)
	if b.carried[key] == 0 {
		t.loss = 0
		b.carried[key] = b.blast(how, t).goodput
	}
	return 2 * b.carried[key]
}

// fixed measures each system at the rate of the trial; without one, ours alone.
func (b *bench) fixed(t trial) {
	if !b.inTime() {
		return
	}
	var at []rated
	for _, s := range b.systems {
		if t.rate > 0 || s.name == "norm" {
			at = append(at, rated{system: s, rate: t.rate})
		}
	}
	b.interleave(at, t, b.runs)
	b.rows(t, at)
}

// paces measures how rates are kept, from the lowest to most of what was best.
func (b *bench) paces() {
	fmt.Fprintf(b.out, "| rate set, Mbit/s | least in a second | most in a second | largest burst, datagrams |\n| ---: | ---: | ---: | ---: |\n")
	for _, rate := range []float64{1e6, 10e6, 100e6, 0.8 * b.rates["norm"]} {
		if rate == 0 || !b.inTime() {
			continue
		}
		p := b.keep(rate)
		if p.err != nil {
			b.note("%.0f Mbit/s: %v", rate/1e6, p.err)
			continue
		}
		fmt.Fprintf(b.out, "| %.0f | %+.1f %% | %+.1f %% | %d |\n", rate/1e6, (p.Least/rate-1)*100, (p.Most/rate-1)*100, p.largest)
	}
}
