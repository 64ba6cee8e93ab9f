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

// files is what the loop knows about where objects lie, and the jobs no worker has taken yet.
type files struct {
	sources map[norm.Handle]Source // of the sender
	sinks   map[norm.Handle]Sink   // of the receiver
	waiting []job

	jobs    chan job
	done    chan job
	workers *sync.WaitGroup
}

func newFiles() files {
	return files{
		sources: make(map[norm.Handle]Source),
		sinks:   make(map[norm.Handle]Sink),
		jobs:    make(chan job),
		done:    make(chan job),
		workers: new(sync.WaitGroup),
	}
}

// start starts n workers, which perform jobs until there are no more.
func (f *files) start(n int) {
	for range n {
		f.workers.Go(func() {
			for j := range f.jobs {
				j.do()
				f.done <- j
			}
		})
	}
}

// finish waits until the workers have ended what they have begun.
func (f *files) finish() {
	close(f.jobs)
	go func() { f.workers.Wait(); close(f.done) }()
	for range f.done {
	}
}

// next returns the channel to give the next job to, nil if there is none.
func (f *files) next() (chan<- job, job) {
	if len(f.waiting) == 0 {
		return nil, job{}
	}
	return f.jobs, f.waiting[0]
}

func (f *files) taken() { f.waiting = f.waiting[1:] }
