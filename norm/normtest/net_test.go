package normtest_test

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/normtest"
)

// A probe is a node that sends what it is told to and writes down what it hears.
type probe struct {
	outbox   []string
	to       netip.AddrPort
	heard    []string
	alarms   []time.Time
	requests []*norm.IO
	done     []*norm.IO
}

func (p *probe) Handle(now time.Time, d norm.Datagram) {
	p.heard = append(p.heard, fmt.Sprintf("%v %s", now.Sub(normtest.Epoch), d.B))
}

func (p *probe) Complete(_ time.Time, io *norm.IO) { p.done = append(p.done, io) }

func (p *probe) Advance(now time.Time) {
	for len(p.alarms) > 0 && !now.Before(p.alarms[0]) {
		p.heard = append(p.heard, fmt.Sprintf("%v alarm", now.Sub(normtest.Epoch)))
		p.alarms = p.alarms[1:]
	}
}

func (p *probe) Requests() iter.Seq[*norm.IO] {
	rs := p.requests
	p.requests = nil
	return slices.Values(rs)
}

func (p *probe) Poll(_ time.Time, b []byte) ([]byte, netip.AddrPort, bool) {
	if len(p.outbox) == 0 {
		return b, netip.AddrPort{}, false
	}
	b = append(b, p.outbox[0]...)
	p.outbox = p.outbox[1:]
	return b, p.to, true
}

func (p *probe) Events() iter.Seq[norm.Event] { return func(func(norm.Event) bool) {} }

func (p *probe) Deadline() time.Time {
	if len(p.alarms) == 0 {
		return time.Time{}
	}
	return p.alarms[0]
}

// probes makes a network of one talker and n listeners behind the given link.
func probes(seed uint64, n int, site *normtest.Site, net *normtest.Net, down normtest.Link) (*normtest.Host, []*probe) {
	talker := net.Add("talker", nil, normtest.Link{}, normtest.Link{})
	talker.Start(&probe{to: normtest.Group})
	listeners := make([]*probe, n)
	for i := range listeners {
		listeners[i] = new(probe)
		net.Add(fmt.Sprintf("listener%d", i), site, normtest.Link{}, down).Start(listeners[i])
	}
	return talker, listeners
}

// say sends n packets, one each millisecond from now on.
func say(net *normtest.Net, h *normtest.Host, n int) {
	for i := range n {
		net.At(time.Duration(i)*time.Millisecond, func() {
			h.Do(func(time.Time) { p := h.Node().(*probe); p.outbox = append(p.outbox, fmt.Sprint(i)) })
		})
	}
}

func TestMulticastReachesEveryOther(t *testing.T) {
	net := normtest.New(1)
	talker, listeners := probes(1, 3, nil, net, normtest.Link{Delay: 10 * time.Millisecond})
	say(net, talker, 2)
	net.Run(time.Second)
	for i, l := range listeners {
		if want := []string{"10ms 0", "11ms 1"}; !slices.Equal(l.heard, want) {
			t.Errorf("listener %d heard %v, want %v", i, l.heard, want)
		}
	}
	if own := talker.Node().(*probe).heard; own != nil {
		t.Errorf("the talker heard itself: %v", own)
	}
	if got := net.Elapsed(); got != time.Second {
		t.Errorf("elapsed %v, want 1s", got)
	}
}

func TestUnicastReachesOne(t *testing.T) {
	net := normtest.New(1)
	site := net.AddSite()
	site.Up.Delay, site.Down.Delay = time.Millisecond, 100*time.Millisecond
	talker, listeners := probes(1, 2, site, net, normtest.Link{Delay: 10 * time.Millisecond})
	talker.Node().(*probe).to = net.Hosts()[2].Addr
	say(net, talker, 1)
	net.Run(time.Second)
	if listeners[0].heard != nil || !slices.Equal(listeners[1].heard, []string{"110ms 0"}) {
		t.Errorf("heard %v and %v, want nothing and 110ms 0", listeners[0].heard, listeners[1].heard)
	}
}

func TestLossIsIndependentAtHostsAndSharedAtSites(t *testing.T) {
	const n = 10_000
	net := normtest.New(7)
	site := net.AddSite()
	site.Down.Loss = normtest.Random(0.2)
	talker, listeners := probes(7, 2, site, net, normtest.Link{Loss: normtest.Random(0.1)})
	say(net, talker, n)
	net.Run(time.Minute)
	a, b := listeners[0].heard, listeners[1].heard
	both := 0
	for _, h := range a {
		if _, ok := slices.BinarySearchFunc(b, h, byMillisecond); ok {
			both++
		}
	}
	near(t, "heard by one", len(a), n*0.8*0.9)
	near(t, "heard by both", both, n*0.8*0.9*0.9)
}

func byMillisecond(a, b string) int {
	da, _ := time.ParseDuration(strings.Fields(a)[0])
	db, _ := time.ParseDuration(strings.Fields(b)[0])
	return int(da - db)
}

func near(t *testing.T, what string, got int, want float64) {
	t.Helper()
	if d := float64(got)/want - 1; d < -0.03 || d > 0.03 {
		t.Errorf("%s: %d, want about %.0f", what, got, want)
	}
}

func TestBurstsLoseRuns(t *testing.T) {
	const n = 50_000
	net := normtest.New(3)
	talker, listeners := probes(3, 1, nil, net, normtest.Link{Loss: &normtest.Bursts{Begin: 0.01, End: 0.2}})
	say(net, talker, n)
	net.Run(time.Minute)
	runs, last := 0, -1
	for _, h := range listeners[0].heard {
		var i int
		fmt.Sscan(strings.Fields(h)[1], &i)
		if i != last+1 {
			runs++
		}
		last = i
	}
	lost := n - len(listeners[0].heard)
	if share := float64(lost) / n; share < 0.04 || share > 0.056 {
		t.Errorf("lost %.3f, want 0.01/(0.01+0.2) = 0.048", share)
	}
	if mean := float64(lost) / float64(runs); mean < 4.5 || mean > 5.5 {
		t.Errorf("bursts of %.2f packets on average, want 5", mean)
	}
}

func TestLinkTiming(t *testing.T) {
	for _, test := range []struct {
		name string
		down normtest.Link
		want []string
	}{
		{"duplicate", normtest.Link{Duplicate: 1}, []string{"0s 0", "0s 0", "1ms 1", "1ms 1"}},
		{"reorder", normtest.Link{Reorder: 1, Late: 5 * time.Millisecond}, []string{"5ms 0", "6ms 1"}},
		// A byte takes 4 ms on the line: the second waits 3 ms.
		{"rate", normtest.Link{Rate: 2000, Delay: time.Millisecond}, []string{"5ms 0", "9ms 1"}},
		{"queue", normtest.Link{Rate: 2000, Queue: 1}, []string{"4ms 0"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			net := normtest.New(1)
			talker, listeners := probes(1, 1, nil, net, test.down)
			say(net, talker, 2)
			net.Run(time.Second)
			if got := listeners[0].heard; !slices.Equal(got, test.want) {
				t.Errorf("heard %v, want %v", got, test.want)
			}
		})
	}
}

func TestRulesCountAtEachHost(t *testing.T) {
	net := normtest.New(1)
	talker, listeners := probes(1, 3, nil, net, normtest.Link{})
	rule := &normtest.Rule{
		Match: func(p *normtest.Packet) bool { return string(p.B) != "0" },
		At:    net.Hosts()[1:3], Skip: 1, Count: 1,
	}
	net.Drop(rule)
	say(net, talker, 4)
	net.Run(time.Second)
	for i, want := range [][]string{{"0s 0", "1ms 1", "3ms 3"}, {"0s 0", "1ms 1", "3ms 3"}, {"0s 0", "1ms 1", "2ms 2", "3ms 3"}} {
		if !slices.Equal(listeners[i].heard, want) {
			t.Errorf("listener %d heard %v, want %v", i, listeners[i].heard, want)
		}
	}
}

func TestKilledAndDetachedHearNothing(t *testing.T) {
	net := normtest.New(1)
	talker, listeners := probes(1, 2, nil, net, normtest.Link{Delay: time.Millisecond})
	killed, detached := net.Hosts()[1], net.Hosts()[2]
	killed.Node().(*probe).alarms = []time.Time{normtest.Epoch.Add(2 * time.Millisecond)}
	killed.Do(func(time.Time) {})
	say(net, talker, 4)
	fresh := new(probe)
	net.At(1500*time.Microsecond, func() { killed.Kill(); detached.Detached = true })
	net.At(3500*time.Microsecond, func() { killed.Start(fresh); detached.Detached = false })
	net.Run(time.Second)
	if want := []string{"1ms 0"}; !slices.Equal(listeners[0].heard, want) {
		t.Errorf("killed node heard %v, want %v", listeners[0].heard, want)
	}
	if want := []string{"4ms 3"}; !slices.Equal(fresh.heard, want) {
		t.Errorf("new node heard %v, want %v", fresh.heard, want)
	}
	if want := []string{"1ms 0", "4ms 3"}; !slices.Equal(listeners[1].heard, want) {
		t.Errorf("detached node heard %v, want %v", listeners[1].heard, want)
	}
}

func TestAlarmsRingAtTheDeadline(t *testing.T) {
	net := normtest.New(1)
	at := func(d time.Duration) time.Time { return normtest.Epoch.Add(d) }
	p := &probe{alarms: []time.Time{at(time.Second), at(2 * time.Second)}}
	h := net.Add("p", nil, normtest.Link{}, normtest.Link{})
	h.Start(p)
	h.Do(func(time.Time) { p.alarms[0] = at(1500 * time.Millisecond) }) // later: the first alarm rings in vain
	net.Run(time.Minute)
	if want := []string{"1.5s alarm", "2s alarm"}; !slices.Equal(p.heard, want) {
		t.Errorf("got %v, want %v", p.heard, want)
	}
}

func TestStuckNodeIsFound(t *testing.T) {
	net := normtest.New(1)
	h := net.Add("p", nil, normtest.Link{}, normtest.Link{})
	defer func() {
		if recover() == nil {
			t.Error("a deadline that never moves went unnoticed")
		}
	}()
	h.Start(stuck{new(probe)})
	net.Run(time.Second)
}

type stuck struct{ *probe }

func (stuck) Deadline() time.Time { return normtest.Epoch }

func TestRequestsAreDoneByTheStore(t *testing.T) {
	for _, delay := range []time.Duration{0, time.Millisecond} {
		net := normtest.New(1)
		h := net.Add("p", nil, normtest.Link{}, normtest.Link{})
		file := make(normtest.Memory, 4)
		h.IODelay = delay
		h.Open = func(norm.Handle) normtest.File { return file }
		buf := make([]byte, 4)
		p := &probe{requests: []*norm.IO{
			{Op: norm.Write, Offset: 1, B: []byte("ab")}, {Op: norm.Read, B: buf},
			{Op: norm.Read, Offset: 2, B: make([]byte, 3)},
		}}
		h.Start(p)
		net.Run(time.Second)
		if len(p.done) != 3 || string(buf) != "\x00ab\x00" || p.done[0].Err != nil || p.done[2].Err == nil {
			t.Errorf("delay %v: done %v, read %q; want 3, the bytes written, and an error for the read beyond the end", delay, p.done, buf)
		}
	}
}

// TestSameSeedSameRun is what every test above and every simulation below stands on.
func TestSameSeedSameRun(t *testing.T) {
	run := func(seed uint64) string {
		net := normtest.New(seed)
		site := net.AddSite()
		site.Down = normtest.Link{Loss: normtest.Random(0.1), Jitter: time.Millisecond}
		link := normtest.Link{Loss: normtest.Random(0.1), Jitter: 5 * time.Millisecond, Duplicate: 0.1, Reorder: 0.1, Late: time.Second}
		talker, listeners := probes(seed, 5, site, net, link)
		say(net, talker, 100)
		net.Run(time.Minute)
		var all strings.Builder
		for _, l := range listeners {
			fmt.Fprintln(&all, l.heard)
		}
		return all.String()
	}
	first, again := run(1), run(1)
	if first != again {
		t.Error("two runs with one seed differ")
	}
	if first == run(2) {
		t.Error("two seeds give one run")
	}
}
