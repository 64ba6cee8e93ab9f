package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

const (
	mostRate = 40e6 // bits per second
	segment  = 1400 // bytes, as normsend has it
	patience = 4 * time.Minute
)

// A crew is goroutines that end together when one of them fails, or the time is out.
type crew struct {
	ctx     context.Context
	fail    context.CancelCauseFunc
	stop    context.CancelFunc
	members sync.WaitGroup
}

func newCrew(ctx context.Context) *crew {
	c := new(crew)
	ctx, c.stop = context.WithTimeoutCause(ctx, patience, fmt.Errorf("not done after %v", patience))
	c.ctx, c.fail = context.WithCancelCause(ctx)
	return c
}

// Go runs f in a goroutine.
func (c *crew) Go(f func() error) {
	c.members.Go(func() {
		if err := f(); err != nil {
			c.fail(err)
		}
	})
}

// Wait waits for all, and returns why they failed.
func (c *crew) Wait() error {
	c.members.Wait()
	defer c.stop()
	return context.Cause(c.ctx)
}

// An event is a line that a command prints by --json.
type event struct {
	Event    string
	SHA256   string
	Sender   json.RawMessage
	Receiver json.RawMessage
}

// session sends the image to n processes of normrecv by one of normsend.
func (b *bench) session(ctx context.Context, n int) (r result, err error) {
	all := newCrew(ctx)
	defer all.Wait()
	ctx = all.ctx
	port, err := freePort()
	if err != nil {
		return r, err
	}
	group := fmt.Sprintf("239.255.%d.%d:%d", port>>8, max(1, port&0xff), port)
	r.rate = min(mostRate, float64(b.deliveries)*segment*8/float64(n))
	listening, verified := make(chan struct{}, n), make(chan bool, n)
	for i := range n {
		all.Go(func() error { return b.receive(ctx, group, strconv.Itoa(i), listening, verified) })
	}
	for range n {
		select {
		case <-listening:
		case <-ctx.Done():
			return r, all.Wait()
		}
	}
	sender := exec.CommandContext(ctx, filepath.Join(b.dir, "normsend"), "file", "--group", group, "--interface", "127.0.0.1", "--ttl", "0",
		"--rate", fmt.Sprint(int(r.rate)), "--grtt", "50ms", "--group-size", strconv.Itoa(n), "--linger", "1s", "--json", b.image)
	began := time.Now()
	var stats struct{ Bytes float64 }
	all.Go(func() error {
		return events(sender, func(e event) error {
			if e.Event == "stats" {
				return json.Unmarshal(e.Sender, &stats)
			}
			return nil
		})
	})
	for range n {
		select {
		case ok := <-verified:
			if ok {
				r.verified++
			}
		case <-ctx.Done():
			return r, all.Wait()
		}
	}
	r.seconds = time.Since(began).Seconds()
	if err := all.Wait(); err != nil {
		return r, err
	}
	r.sent = stats.Bytes / float64(len(b.content))
	r.user, r.system = sender.ProcessState.UserTime().Seconds(), sender.ProcessState.SystemTime().Seconds()
	return r, nil
}

// receive runs one normrecv, and throws away what it wrote.
func (b *bench) receive(ctx context.Context, group, name string, listening chan<- struct{}, verified chan<- bool) error {
	out := filepath.Join(b.dir, "receiver-"+name)
	defer os.RemoveAll(out)
	c := exec.CommandContext(ctx, filepath.Join(b.dir, "normrecv"), "file", "--group", group, "--interface", "127.0.0.1", "--out", out,
		"--count", "1", "--json")
	c.Env = append(os.Environ(), "GOMAXPROCS=1") // there are more of them than CPUs
	return events(c, func(e event) error {
		switch e.Event {
		case "listening":
			listening <- struct{}{}
		case "complete":
			verified <- e.SHA256 == b.sum
		}
		return nil
	})
}

// events runs a command and calls f with what it tells.
func events(c *exec.Cmd, f func(event) error) error {
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	for lines := json.NewDecoder(out); err == nil; {
		var e event
		if err = lines.Decode(&e); err == nil {
			err = f(e)
		}
	}
	if err != io.EOF {
		c.Process.Kill()
		c.Wait()
		return err
	}
	return c.Wait()
}

// freePort returns a UDP port that nobody uses.
func freePort() (int, error) {
	c, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port, nil
}
