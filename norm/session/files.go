package session

import (
	"errors"
	"io"
	"sync"

	"github.com/multicast-upgrade/tool/norm"
)

// A job is one read or write for a worker.
type job struct {
	io     *norm.IO
	tx     bool // of the sender's objects
	source io.ReaderAt
	sink   io.WriterAt
}

var errNoFile = errors.New("session: nothing to read from or write to")

// do performs the job; only io.Err of it changes.
func (j job) do() {
	n, err := 0, errNoFile
	switch {
	case j.io.Op == norm.Read && j.source != nil:
		if n, err = j.source.ReadAt(j.io.B, j.io.Offset); n == len(j.io.B) {
			err = nil // "ReadAt may return either err == EOF or err == nil" at the very end
		} else if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
	case j.io.Op == norm.Write && j.sink != nil:
		_, err = j.sink.WriteAt(j.io.B, j.io.Offset)
	}
	j.io.Err = err
}

// files is what the loop knows about where objects lie, and the jobs that wait for a worker.
type files struct {
	sources map[norm.Handle]Source // of the sender
	sinks   map[norm.Handle]Sink   // of the receiver
	sweepAt int                    // how many sinks there are when it is time to look for those not needed any more

	waiting fifo[job] // for room in jobs
	jobs    chan job
	done    chan job
	workers *sync.WaitGroup
}

// newFiles starts n workers.
func newFiles(n int) files {
	f := files{
		sources: make(map[norm.Handle]Source),
		sinks:   make(map[norm.Handle]Sink),
		sweepAt: minSweep,
		jobs:    make(chan job, n), // so that a worker need not wait for the loop
		done:    make(chan job, n),
		workers: new(sync.WaitGroup),
	}
	for range n {
		f.workers.Go(func() {
			for j := range f.jobs {
				j.do()
				f.done <- j
			}
		})
	}
	return f
}

// give hands jobs to the workers as far as they have room. When they have none, one of them is at work, and what it
// completes brings the loop back here.
func (f *files) give() {
	for f.waiting.len() > 0 {
		select {
		case f.jobs <- f.waiting.first():
			f.waiting.pop()
		default:
			return
		}
	}
}

// finish waits until the workers have ended what they have begun.
func (f *files) finish() {
	for len(f.jobs) > 0 {
		select {
		case <-f.jobs:
		default: // a worker was faster
		}
	}
	close(f.jobs)
	go func() { f.workers.Wait(); close(f.done) }()
	for range f.done {
	}
}

const minSweep = 64

// sweep lets go of the sinks of objects that the receiver does not know any more. Of a complete object no event tells
// when its handle is released, so this asks, each time as many have come as there were.
func (f *files) sweep(known func(norm.Handle) (norm.ReceivedObject, bool)) {
	if len(f.sinks) < f.sweepAt {
		return
	}
	for h := range f.sinks {
		if _, ok := known(h); !ok {
			delete(f.sinks, h)
		}
	}
	f.sweepAt = max(minSweep, 2*len(f.sinks))
}
