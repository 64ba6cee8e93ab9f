package normtest

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/wire"
)

var ackCommands = map[string]command{
	"watermark":   (*runner).watermark,
	"ackreq":      (*runner).ackRequest,
	"command":     (*runner).command,
	"answer":      (*runner).answer,
	"acknowledge": (*runner).acknowledge,
	"ack":         (*runner).ack,
}

// nodes returns the nodes that nodes= names: receivers, numbers and ranges of numbers.
func (r *runner) nodes(a *args) (nodes []norm.NodeID, err error) {
	for _, word := range a.list("nodes") {
		if x := r.receivers[word]; x != nil {
			nodes = append(nodes, x.Config.Node)
			continue
		}
		from, to, isRange := strings.Cut(word, "-")
		first, err := strconv.ParseUint(from, 0, 32)
		last := first
		if err == nil && isRange {
			last, err = strconv.ParseUint(to, 0, 32)
		}
		if err != nil {
			return nil, fmt.Errorf("node %q: want a receiver, a number or a range", word)
		}
		for id := first; id <= last; id++ {
			nodes = append(nodes, norm.NodeID(id))
		}
	}
	return nodes, nil
}

// told turns what a node refuses into a line.
func told(err error) ([]string, error) {
	if err != nil {
		return []string{err.Error()}, nil
	}
	return nil, nil
}

func (r *runner) watermark(a *args) ([]string, error) {
	var w norm.Watermark
	s, err := r.sender(a)
	if err == nil && a.given("object") {
		_, w.Object, err = r.held(a)
	}
	if err == nil {
		w.Nodes, err = r.nodes(a)
	}
	if err != nil {
		return nil, err
	}
	w.OverridesFlush = a.has("override")
	s.Host.Do(func(now time.Time) { _, err = s.Core.SetWatermark(now, w) })
	return told(err)
}

func (r *runner) ackRequest(a *args) ([]string, error) {
	s, err := r.sender(a)
	if err != nil {
		return nil, err
	}
	nodes, err := r.nodes(a)
	if err != nil {
		return nil, err
	}
	ackType := uint8(a.int("type", int(wire.AckApplication)))
	s.Host.Do(func(now time.Time) { _, err = s.Core.RequestAcks(now, ackType, nodes) })
	return told(err)
}

func (r *runner) command(a *args) ([]string, error) {
	s, err := r.sender(a)
	if err != nil {
		return nil, err
	}
	robust := !a.has("once")
	content := strings.Join(a.rest(), " ")
	s.Host.Do(func(now time.Time) { err = s.Core.Command(now, []byte(content), robust) })
	return told(err)
}

func (r *runner) answer(a *args) ([]string, error) {
	x, err := r.receiver(a)
	if err != nil {
		return nil, err
	}
	return told(x.Core.Answer(uint8(a.int("type", int(wire.AckApplication))), []byte(strings.Join(a.rest(), " "))))
}

func (r *runner) acknowledge(a *args) ([]string, error) {
	x, err := r.receiver(a)
	if err != nil {
		return nil, err
	}
	s, err := r.sender(a)
	if err != nil {
		return nil, err
	}
	ackType, id := uint8(a.int("type", int(wire.AckApplication))), uint8(a.int("id", 0))
	x.Host.Do(func(now time.Time) {
		err = x.Core.Acknowledge(now, s.Config.Node, ackType, id, []byte(strings.Join(a.rest(), " ")))
	})
	return told(err)
}

// ack lets a stranger acknowledge, in the words a trace has for a watermark: ack x 1/0/7; without one, a request of a type.
func (r *runner) ack(a *args) ([]string, error) {
	x := r.stranger(a)
	s, err := r.sender(a)
	if err != nil {
		return nil, err
	}
	m := wire.Ack{Header: wire.Header{Source: norm.NodeID(a.int("node", int(x.id)))}}
	m.Server = norm.NodeID(a.int("server", int(s.Config.Node)))
	m.Instance = norm.InstanceID(a.int("instance", int(s.Config.Instance)))
	m.AckType, m.AckID = wire.AckType(a.int("type", int(wire.AckFlush))), uint8(a.int("id", 0))
	if m.AckType == wire.AckFlush {
		var n [3]uint32
		if _, err := fmt.Sscanf(a.word("a watermark"), "%d/%d/%d", &n[0], &n[1], &n[2]); err != nil {
			return nil, err
		}
		at, err := position(s.Config.FEC, n)
		if err != nil {
			return nil, err
		}
		if m.Payload, err = at.AppendItem(nil); err != nil {
			return nil, err
		}
	}
	for range a.int("count", 1) {
		b, err := m.AppendBinary(nil)
		if err != nil {
			return nil, err
		}
		x.say(b)
	}
	return nil, nil
}
