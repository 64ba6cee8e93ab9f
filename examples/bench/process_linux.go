package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/multicast-upgrade/tool/internal/netns"
	"github.com/multicast-upgrade/tool/internal/resident"
)

// A process is a program at work on a host.
type process struct {
	cmd   *exec.Cmd
	input io.Closer // programs of interop/peers work as long as they have one
	done  chan struct{}

	mu    sync.Mutex
	lines []line        // what it said; guarded by mu
	news  chan struct{} // closed, and made anew, with each line; guarded by mu

	resident atomic.Int64 // bytes at the peak
}

// A line is one of what a process said, and when.
type line struct {
	at   time.Time
	text string
}

// A usage is what a process took.
type usage struct {
	cpu      time.Duration // in user mode and in the kernel
	resident int64         // bytes at the peak
}

// linesKept bounds what of a talkative program is remembered.
const linesKept = 10_000

// start starts a program on a host.
func (l *lab) start(h *netns.Host, args ...string) (*process, error) {
	cmd := h.Exec(args[0], args[1:]...)
	cmd.Dir = l.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt of ours is not one of its
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		r.Close()
		w.Close()
		return nil, err
	}
	w.Close()
	p := &process{cmd: cmd, input: stdin, done: make(chan struct{}), news: make(chan struct{})}
	go p.read(r)
	go p.watch()
	return p, nil
}

// watch looks now and then how much memory the process has, until it ends. The kernel's own account of it, for who waits,
// begins with that of the program that started it.
func (p *process) watch() {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.weigh()
		case <-p.done:
			return
		}
	}
}

func (p *process) weigh() {
	if n, err := resident.Peak(p.cmd.Process.Pid); err == nil && n > p.resident.Load() { // it may have ended
		p.resident.Store(n)
	}
}

// read takes down what the process says, until it ends.
func (p *process) read(r io.ReadCloser) {
	defer close(p.done)
	for s := bufio.NewScanner(r); s.Scan(); {
		p.mu.Lock()
		if len(p.lines) < linesKept {
			p.lines = append(p.lines, line{time.Now(), s.Text()})
			close(p.news)
			p.news = make(chan struct{})
		}
		p.mu.Unlock()
	}
	r.Close()
	p.cmd.Wait()
}

// await returns the first line that matches, said by the deadline. Without an expression it waits for the process to end
// well.
func (p *process) await(match *regexp.Regexp, deadline time.Time) (line, error) {
	late := time.NewTimer(time.Until(deadline))
	defer late.Stop()
	for seen := 0; ; {
		p.mu.Lock()
		lines, news := p.lines[seen:], p.news
		p.mu.Unlock()
		for _, l := range lines {
			if match != nil && match.MatchString(l.text) {
				return l, nil
			}
		}
		seen += len(lines)
		select {
		case <-news:
		case <-p.done:
			p.mu.Lock()
			more := len(p.lines) > seen
			p.mu.Unlock()
			switch {
			case more:
			case match == nil && p.cmd.ProcessState.Success():
				return line{at: time.Now()}, nil
			default:
				return line{}, fmt.Errorf("ended with %v: %s", p.cmd.ProcessState, p.last())
			}
		case <-late.C:
			return line{}, errors.New("not done in time")
		}
	}
}

// find returns the expression's matches in the last line of what the process said that has any, or nil.
func (p *process) find(match *regexp.Regexp) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range slices.Backward(p.lines) {
		if m := match.FindStringSubmatch(l.text); m != nil {
			return m
		}
	}
	return nil
}

// last returns the last line of what the process said.
func (p *process) last() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.lines) == 0 {
		return ""
	}
	return p.lines[len(p.lines)-1].text
}

// stop ends the process, first by an interrupt, and returns what it took.
func (p *process) stop() usage {
	p.weigh()
	p.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-p.done:
	case <-time.After(time.Second):
		p.cmd.Process.Kill()
		<-p.done
	}
	p.input.Close()
	return usage{p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime(), p.resident.Load()}
}
