package normtest

import (
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"
)

var networkCommands = map[string]command{
	"site":    (*runner).site,
	"link":    (*runner).link,
	"move":    (*runner).move,
	"detach":  func(r *runner, a *args) ([]string, error) { return nil, r.attach(a, false) },
	"attach":  func(r *runner, a *args) ([]string, error) { return nil, r.attach(a, true) },
	"drop":    (*runner).drop,
	"allow":   func(r *runner, _ *args) ([]string, error) { r.net.Allow(nil); return nil, nil },
	"trace":   (*runner).setTrace,
	"run":     (*runner).run,
	"inject":  (*runner).inject,
	"garbage": (*runner).garbage,
	"nack":    (*runner).nack,
	"eot":     (*runner).eot,
}

// link reads the keys of a link.
func link(a *args, l Link) Link {
	l.Delay = a.duration("delay", l.Delay)
	l.Jitter = a.duration("jitter", l.Jitter)
	if a.given("loss") {
		l.Loss = Random(a.float("loss", 0))
	}
	if a.given("bursts") {
		l.Loss = take(a, "bursts", l.Loss, func(s string) (Loss, error) {
			g := new(Bursts)
			_, err := fmt.Sscanf(s, "%g,%g", &g.Begin, &g.End)
			return g, err
		})
	}
	if a.given("duplicate") {
		l.Duplicate = a.float("duplicate", 0)
	}
	if a.given("reorder") {
		l.Reorder = a.float("reorder", 0)
	}
	l.Late = a.duration("late", l.Late)
	l.Rate = a.rate("bandwidth", l.Rate)
	l.Queue = a.int("queue", l.Queue)
	return l
}

func (r *runner) site(a *args) ([]string, error) {
	s := r.net.AddSite()
	s.Down = link(a, Link{})
	r.sites[a.word("a name")] = s
	return nil, nil
}

func (r *runner) link(a *args) ([]string, error) {
	name := a.word("a host or site")
	up := a.has("up")
	var l *Link
	switch site, host := r.sites[name], (*Host)(nil); {
	case site != nil && up:
		l = &site.Up
	case site != nil:
		l = &site.Down
	default:
		var err error
		if host, err = r.host(name); err != nil {
			return nil, err
		}
		if !up && a.given("delay") {
			return nil, fmt.Errorf("the delay of a host is fixed when it is added")
		}
		if l = &host.Down; up {
			l = &host.Up
		}
	}
	*l = link(a, *l)
	return nil, nil
}

func (r *runner) move(a *args) ([]string, error) {
	h, err := r.host(a.word("a host"))
	if err != nil {
		return nil, err
	}
	to, err := netip.ParseAddrPort(a.word("an address and port"))
	if err == nil {
		h.Move(to)
	}
	return nil, err
}

func (r *runner) attach(a *args, on bool) error {
	hosts, err := r.hosts(a.rest())
	for _, h := range hosts {
		h.Detached = !on
	}
	return err
}

// drop loses messages by their text: those that are it, or begin with it and a space, or with it alone if it ends in "*".
func (r *runner) drop(a *args) ([]string, error) {
	hosts, err := r.hosts(a.list("at"))
	if err != nil {
		return nil, err
	}
	text := strings.Join(a.rest(), " ")
	prefix, wild := strings.CutSuffix(text, "*")
	r.net.Drop(&Rule{At: hosts, Skip: a.int("skip", 0), Count: a.int("count", 0), Match: func(p *Packet) bool {
		s := p.String()
		return wild && strings.HasPrefix(s, prefix) || s == text || strings.HasPrefix(s, text+" ")
	}})
	return nil, nil
}

func (r *runner) setTrace(a *args) ([]string, error) {
	for _, w := range a.rest() {
		kind, on := strings.CutPrefix(w, "+")
		if !on {
			var off bool
			if kind, off = strings.CutPrefix(w, "-"); !off {
				return nil, fmt.Errorf("%s: want +KIND or -KIND", w)
			}
		}
		if err := r.trace.Set(kind, on); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// run lets time pass: "run 2s", or "run 1m until complete" until every receiver has all that was sent.
func (r *runner) run(a *args) ([]string, error) {
	d, err := time.ParseDuration(a.word("how long"))
	if err != nil {
		return nil, err
	}
	if !a.has("until") {
		r.net.Run(d)
		return nil, nil
	}
	a.has("complete")
	if !r.net.RunUntil(d, r.complete) {
		return nil, fmt.Errorf("not complete after %v", d)
	}
	return nil, nil
}

// complete reports whether every running receiver completed as many objects as the running senders hold.
func (r *runner) complete() bool {
	sent := 0
	for _, s := range r.senders {
		sent += len(s.IDs)
	}
	for _, x := range r.receivers {
		if x.Host.Node() != nil && x.Completed() < sent {
			return false
		}
	}
	return true
}

// count writes down which of the counters in stats that tell a story rose since the last time.
func (r *runner) count(h *Host, stats any) {
	before := r.counts[h]
	now := make(map[string]uint64)
	readCounters(now, reflect.ValueOf(stats), "")
	r.counts[h] = now
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if told, ok := countersTold[name]; ok && now[name] > before[name] {
			r.trace.add("count", h, "=", stringer(func() string { return told }))
		}
	}
}

// countersTold are the counters that the trace mentions when they rise, in its words.
var countersTold = map[string]string{
	"NacksSuppressed":   "suppressed",
	"NacksIgnored":      "NACK ignored",
	"Spilled":           "spilled a block",
	"NoBuffer":          "no buffer",
	"Drops.Malformed":   "dropped as malformed",
	"Drops.Foreign":     "dropped as foreign",
	"Drops.Useless":     "dropped as useless",
	"Drops.Refused":     "dropped as refused",
	"Drops.Unauthentic": "dropped as unauthentic",
}

func readCounters(into map[string]uint64, v reflect.Value, prefix string) {
	for i := range v.NumField() {
		switch name, f := prefix+v.Type().Field(i).Name, v.Field(i); {
		case f.Kind() == reflect.Uint64:
			into[name] = f.Uint()
		case f.Kind() == reflect.Struct:
			readCounters(into, f, name+".")
		}
	}
}

// inject lets a stranger send a datagram, given in hex.
func (r *runner) inject(a *args) ([]string, error) {
	x := r.stranger(a)
	b, err := hex.DecodeString(strings.Join(a.rest(), ""))
	if err == nil {
		x.say(b)
	}
	return nil, err
}

// garbage lets a stranger send datagrams of random bytes, half of which begin as a message of NORM would.
func (r *runner) garbage(a *args) ([]string, error) {
	x := r.stranger(a)
	for i := range a.int("count", 1) {
		b := make([]byte, x.host.rng.IntN(200))
		for i := range b {
			b[i] = byte(x.host.rng.Uint32())
		}
		if i%2 == 0 && len(b) > 2 {
			b[0], b[1] = 0x10|byte(1+i/2%6), byte(4+i%4)
		}
		x.say(b)
	}
	return nil, nil
}
