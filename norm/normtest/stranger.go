package normtest

import (
	"fmt"
	"iter"
	"net/netip"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// A stranger is a node without a protocol: it sends what a script makes it say, and ignores the rest.
type stranger struct {
	host   *Host
	id     norm.NodeID
	outbox [][]byte
}

// stranger returns the stranger that the next word names, a new one if there is none.
func (r *runner) stranger(a *args) *stranger {
	name := a.word("who")
	x := r.strangers[name]
	if x == nil {
		x = &stranger{host: r.net.Add(name, nil, Link{}, r.defaults.link), id: norm.NodeID(900 + len(r.strangers))}
		x.host.Start(x)
		r.strangers[name] = x
	}
	return x
}

// say sends a datagram to the group.
func (x *stranger) say(b []byte) {
	x.host.Do(func(time.Time) { x.outbox = append(x.outbox, b) })
}

func (x *stranger) Poll(_ time.Time, b []byte) ([]byte, netip.AddrPort, bool) {
	if len(x.outbox) == 0 {
		return b, netip.AddrPort{}, false
	}
	b = append(b, x.outbox[0]...)
	x.outbox = x.outbox[1:]
	return b, Group, true
}

func (*stranger) Handle(time.Time, norm.Datagram) {}
func (*stranger) Complete(time.Time, *norm.IO)    {}
func (*stranger) Advance(time.Time)               {}
func (*stranger) Requests() iter.Seq[*norm.IO]    { return func(func(*norm.IO) bool) {} }
func (*stranger) Events() iter.Seq[norm.Event]    { return func(func(norm.Event) bool) {} }
func (*stranger) Deadline() time.Time             { return time.Time{} }

// nack lets a stranger ask a sender for repairs, in the words a trace has for them: nack x segment 1/0/8-10, block 1/2.
func (r *runner) nack(a *args) ([]string, error) {
	x := r.stranger(a)
	s, err := r.sender(a)
	if err != nil {
		return nil, err
	}
	m := wire.Nack{Header: wire.Header{Source: norm.NodeID(a.int("node", int(x.id)))}}
	m.Server = norm.NodeID(a.int("server", int(s.Config.Node)))
	m.Instance = norm.InstanceID(a.int("instance", int(s.Config.Instance)))
	b, err := m.AppendBinary(nil)
	if err != nil {
		return nil, err
	}
	w := wire.NewRepairWriter(b, 1400)
	for _, request := range strings.Split(strings.Join(a.rest(), " "), ", ") {
		if err := request1(&w, s.Config.FEC, request); err != nil {
			return nil, err
		}
	}
	x.say(w.Bytes())
	return nil, nil
}

// request1 writes one request such as "segment 1/0/8-10".
func request1(w *wire.RepairWriter, code fec.Params, text string) error {
	level, what, _ := strings.Cut(text, " ")
	var flags wire.RepairFlags
	var depth int // how many numbers name an item
	switch level {
	case "object":
		flags, depth = wire.RepairObject, 1
	case "info":
		flags, depth = wire.RepairInfo, 1
	case "block":
		flags, depth = wire.RepairBlock, 2
	case "segment":
		flags, depth = wire.RepairSegment, 3
	default:
		return fmt.Errorf("%q: want object, info, block or segment", text)
	}
	from, to, isRange := strings.Cut(what, "-")
	var n [3]uint32
	for i, s := range strings.Split(from, "/") {
		if i >= depth {
			return fmt.Errorf("%q: %s takes %d numbers", text, level, depth)
		}
		if _, err := fmt.Sscan(s, &n[i]); err != nil {
			return err
		}
	}
	first, err := position(code, n)
	if err != nil {
		return err
	}
	last := first
	if isRange {
		if _, err := fmt.Sscan(to, &n[depth-1]); err != nil {
			return err
		}
		if last, err = position(code, n); err != nil {
			return err
		}
	}
	if !w.Range(flags, first, last) {
		return fmt.Errorf("%q does not fit", text)
	}
	return nil
}

func position(code fec.Params, n [3]uint32) (wire.Position, error) {
	return wire.NewPosition(wire.FECID(code.ID), code.M, norm.TransportID(n[0]), wire.PayloadID{Block: n[1], Symbol: n[2]})
}

// eot lets a stranger end a sender's session in its name.
func (r *runner) eot(a *args) ([]string, error) {
	x := r.stranger(a)
	s, err := r.sender(a)
	if err != nil {
		return nil, err
	}
	m := wire.EOT{Header: wire.Header{Source: s.Config.Node}}
	m.Instance = norm.InstanceID(a.int("instance", int(s.Config.Instance)))
	b, err := m.AppendBinary(nil)
	if err == nil {
		x.say(b)
	}
	return nil, err
}
