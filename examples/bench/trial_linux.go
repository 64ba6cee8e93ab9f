package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/internal/netns"
)

// A trial is one file on its way to receivers that each lose a share of all datagrams.
type trial struct {
	receivers int
	loss      float64 // percent
	image     *image
	rate      float64 // bits per second; 0: what congestion control finds, of systems that have it
	offload   bool    // segmentation offload passes through
}

// rateFlag is the rate as normsend takes it.
func (t trial) rateFlag() string {
	if t.rate == 0 {
		return "auto"
	}
	return fmt.Sprintf("%.0f", t.rate)
}

// An outcome is what became of a trial. Nothing else is set if err is.
type outcome struct {
	err      error
	rate     float64 // that was set
	goodput  float64 // bits per second of content, from the start of the sender's process until the last receiver has it
	sender   usage
	receiver usage   // the mean of their time, the most of their memory
	sent     counted // by the sender's interface
	feedback int64   // packets that the sender's interface got
	overruns int64   // datagrams that a receiver's queue had no room for
}

// counted are bytes, with Ethernet headers, and packets.
type counted struct{ bytes, packets int64 }

// slowest is the goodput, in bits per second, that is still waited for.
const slowest = 16e6

// run makes a trial.
func (l *lab) run(s *system, t trial) (o outcome) {
	net := l.net(t.receivers)
	l.prepare(net, t)
	outs := filepath.Join(l.dir, "out")
	defer os.RemoveAll(outs)
	var running []*process
	defer func() {
		for _, p := range running {
			p.stop()
		}
	}()
	fail := func(who string, err error) outcome { return outcome{err: fmt.Errorf("%s %w", who, err)} }
	begin := func(h *netns.Host, args []string) (*process, error) {
		p, err := l.start(h, args...)
		if err == nil {
			running = append(running, p)
		}
		return p, err
	}
	for i := range t.receivers {
		dir := filepath.Join(outs, strconv.Itoa(i))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fail("receiver", err)
		}
		p, err := begin(net.Host(i+1), s.receive(l, dir))
		if err == nil {
			_, err = p.await(s.ready, time.Now().Add(10*time.Second))
		}
		if err != nil {
			return fail("receiver", err)
		}
	}
	receivers := slices.Clone(running)
	before := l.count(net)
	start := time.Now()
	deadline := start.Add(5*time.Second + time.Duration(float64(t.image.size)*8/slowest*1e9))
	sender, err := begin(net.Host(0), s.send(l, t))
	if err != nil {
		return fail("sender", err)
	}
	last := start
	for _, p := range receivers {
		done, err := p.await(s.done, deadline)
		if err != nil {
			return fail("receiver", err)
		}
		if done.at.After(last) {
			last = done.at
		}
	}
	after := l.count(net)
	o = outcome{
		rate: t.rate, goodput: float64(t.image.size) * 8 / last.Sub(start).Seconds(), sender: sender.stop(),
		sent: counted{after.sent.bytes - before.sent.bytes, after.sent.packets - before.sent.packets}, feedback: after.feedback - before.feedback,
		overruns: after.overruns - before.overruns,
	}
	for i, p := range receivers {
		u := p.stop()
		o.receiver.cpu += u.cpu / time.Duration(t.receivers)
		o.receiver.resident = max(o.receiver.resident, u.resident)
		if err := t.image.checkIn(filepath.Join(outs, strconv.Itoa(i)), s.file); err != nil {
			return fail("receiver", err)
		}
	}
	return o
}

// checkIn returns why the one file beneath dir whose name matches is not the image, or nil.
func (m *image) checkIn(dir, pattern string) error {
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(paths) != 1 {
		return errors.Join(err, fmt.Errorf("has %d files", len(paths)))
	}
	return m.check(paths[0])
}

// prepare sets what the network does to datagrams.
func (l *lab) prepare(net *netns.Net, t trial) {
	segments := "1"
	if t.offload {
		segments = "65535"
	}
	net.Host(0).Configure("link", "set", netns.Interface, "gso_max_segs", segments)
	for _, h := range net.Hosts()[1:] {
		h.Lose(netns.Loss{Share: t.loss / 100})
	}
}

// count reads the counters of a network.
func (l *lab) count(net *netns.Net) (c struct {
	sent               counted
	feedback, overruns int64
}) {
	const dir = "/sys/class/net/" + netns.Interface + "/statistics/"
	values := l.read(net.Host(0), dir+"tx_bytes", dir+"tx_packets", dir+"rx_packets")
	numbers := strings.Fields(values)
	if len(numbers) != 3 {
		l.Fatalf("counters of %s: %q", netns.Interface, values)
	}
	c.sent = counted{number(numbers[0]), number(numbers[1])}
	c.feedback = number(numbers[2])
	for _, h := range net.Hosts()[1:] {
		c.overruns += receiveBufferErrors(l.read(h, "/proc/net/snmp"))
	}
	return c
}

// read returns the content of files as a host sees them.
func (l *lab) read(h *netns.Host, files ...string) string {
	out, err := h.Exec("cat", files...).Output()
	if err != nil {
		l.Fatalf("reading %v: %v", files, err)
	}
	return string(out)
}

// receiveBufferErrors finds RcvbufErrors of UDP in /proc/net/snmp.
func receiveBufferErrors(snmp string) int64 {
	var names []string
	for l := range strings.Lines(snmp) {
		f := strings.Fields(l)
		switch {
		case len(f) == 0 || f[0] != "Udp:":
		case names == nil:
			names = f
		default:
			if i := slices.Index(names, "RcvbufErrors"); i > 0 && i < len(f) {
				return number(f[i])
			}
		}
	}
	return 0
}

func number(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}

// perGB is CPU seconds for a billion bytes.
func (u usage) perGB(m *image) float64 { return u.cpu.Seconds() / float64(m.size) * 1e9 }

// median returns the outcome with the median goodput, and how many of them failed.
func median(outcomes []outcome) (o outcome, failed int) {
	good := slices.DeleteFunc(slices.Clone(outcomes), func(o outcome) bool { return o.err != nil })
	failed = len(outcomes) - len(good)
	if len(good) == 0 {
		return outcomes[0], failed
	}
	slices.SortFunc(good, func(a, b outcome) int { return cmp.Compare(a.goodput, b.goodput) })
	return good[len(good)/2], failed
}
