package normtest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/multicast-upgrade/tool/norm"
)

var showCommands = map[string]command{"show": (*runner).show}

// show prints a host's counters ("show stats r1 NacksSent Drops.Foreign") or what a receiver has ("show objects r1").
func (r *runner) show(a *args) ([]string, error) {
	switch what := a.word("what"); what {
	case "stats":
		return r.showStats(a)
	case "objects":
		var lines []string
		for _, name := range a.rest() {
			x := r.receivers[name]
			if x == nil {
				return nil, fmt.Errorf("no receiver %q", name)
			}
			for _, o := range x.Objects {
				lines = append(lines, name+" "+o.String())
			}
		}
		return lines, nil
	default:
		return nil, fmt.Errorf("show %s: want stats or objects", what)
	}
}

func (r *runner) showStats(a *args) ([]string, error) {
	name := a.word("a node")
	var stats reflect.Value
	switch s, x := r.senders[name], r.receivers[name]; {
	case s != nil:
		stats = reflect.ValueOf(s.Core.Stats())
	case x != nil:
		stats = reflect.ValueOf(x.Core.Stats())
	default:
		return nil, fmt.Errorf("no node %q", name)
	}
	line := name
	for _, field := range a.rest() {
		v := stats
		for _, part := range strings.Split(field, ".") {
			if v = v.FieldByName(part); !v.IsValid() {
				return nil, fmt.Errorf("no counter %q", field)
			}
		}
		line += fmt.Sprintf(" %s=%v", field, v)
	}
	return []string{line}, nil
}

// String tells the state of the object: "1/3 data 512 bytes complete".
func (o *Received) String() string {
	s := fmt.Sprintf("%d/%d %s %d bytes", o.Info.Sender, o.Info.ID, kindName(o.Info.Kind), o.Info.Size)
	if o.Info.Info != nil {
		s += fmt.Sprintf(" info %q", o.Info.Info)
	}
	if o.Info.Kind == norm.Stream {
		s += fmt.Sprintf(" read %d", o.Read)
	}
	switch f, ok := o.File.(*Pattern); {
	case o.Err != nil:
		s += " aborted"
	case o.Complete && ok && !f.Whole():
		s += " complete with gaps" // never
	case o.Complete:
		s += " complete"
	case ok:
		s += " incomplete " + f.gaps()
	default:
		s += " incomplete"
	}
	return s
}

func kindName(k norm.Kind) string {
	switch k {
	case norm.File:
		return "file"
	case norm.Stream:
		return "stream"
	}
	return "data"
}

// gaps lists what was written: "has 0+64 128+64".
func (f *Pattern) gaps() string {
	words := []string{"has"}
	for _, w := range f.right {
		words = append(words, fmt.Sprintf("%d+%d", w.Offset, w.Length))
	}
	return strings.Join(words, " ")
}

// describe returns an event in words, with the object's sender and NormTransportId.
func (h *Host) describe(e norm.Event) string {
	words := []string{e.Kind.String()}
	if h.Identify != nil && slices.Contains(objectEvents, e.Kind) {
		words = append(words, h.Identify(e.Object))
	}
	switch e.Kind {
	case norm.ObjectData, norm.StreamBreak:
		words = append(words, fmt.Sprintf("%d+%d", e.Range.Offset, e.Range.Length))
	case norm.SenderSeen, norm.SenderRestarted, norm.SenderLost, norm.SenderEnded:
		words = append(words, fmt.Sprintf("%d instance %d", e.Sender, e.Instance))
	case norm.SenderMoved:
		words = append(words, fmt.Sprintf("%d instance %d to %v", e.Sender, e.Instance, e.From))
	case norm.NodeCollision:
		words = append(words, fmt.Sprint(e.Node))
	case norm.NodeAcknowledged, norm.NodeSilent:
		words = append(words, fmt.Sprintf("%d of request %d", e.Node, e.Request))
	case norm.AcksDone:
		words = append(words, fmt.Sprintf("of request %d", e.Request))
	case norm.AckRequested:
		words = append(words, fmt.Sprintf("by %d type %d id %d", e.Sender, e.AckType, e.AckID))
	case norm.AppCommand:
		words = append(words, fmt.Sprintf("by %d", e.Sender))
	}
	if e.Content != "" {
		words = append(words, fmt.Sprintf("%q", e.Content))
	}
	if e.Err != nil {
		words = append(words, "("+strings.TrimPrefix(e.Err.Error(), "norm: ")+")")
	}
	return strings.Join(words, " ")
}

var objectEvents = []norm.EventKind{
	norm.ObjectOffered, norm.ObjectInfo, norm.ObjectData, norm.ObjectComplete, norm.ObjectAborted, norm.ObjectSent, norm.ObjectPurged,
	norm.StreamWritable, norm.StreamReadable, norm.StreamBreak,
}
