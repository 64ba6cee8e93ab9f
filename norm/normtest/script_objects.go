package normtest

import (
	"fmt"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/norm"
)

var objectCommands = map[string]command{
	"send":    (*runner).send,
	"cancel":  (*runner).cancel,
	"flush":   (*runner).flush,
	"end":     (*runner).end,
	"rate":    (*runner).rate,
	"expect":  (*runner).expect,
	"present": (*runner).present,
	"reject":  (*runner).rejectRange,
	"abort":   (*runner).abort,
	"leave":   (*runner).leave,
	"refuse":  (*runner).refuse,
}

func (r *runner) send(a *args) ([]string, error) {
	s, err := r.sender(a)
	if err != nil {
		return nil, err
	}
	o := norm.Object{
		Kind:       choice(a, "kind", []string{"data", "file"}, []norm.Kind{norm.Data, norm.File}),
		Size:       int64(a.int("size", a.int("data", 0)*s.Config.SegmentSize)),
		Pinned:     a.has("pinned"),
		RepairOnly: a.has("repair-only"),
	}
	if a.given("info") {
		o.Info = []byte(a.text("info", ""))
	}
	var id norm.TransportID
	for _, l := range strings.FieldsFunc(a.text("lose", ""), func(c rune) bool { return c == ';' }) {
		if err := r.lose(l, &id); err != nil {
			return nil, err
		}
	}
	want := a.int("object", -1)
	if _, id, err = s.Send(o, nil); err != nil {
		return []string{err.Error()}, nil
	}
	if want >= 0 && want != int(id) {
		return nil, fmt.Errorf("got NormTransportId %d", id)
	}
	return nil, nil
}

// lose loses the first transmission of a segment: block:symbol@hosts, or info@hosts.
func (r *runner) lose(s string, id *norm.TransportID) error {
	what, at, _ := strings.Cut(s, "@")
	hosts, err := r.hosts(strings.Split(at, ","))
	if err != nil {
		return err
	}
	r.net.Drop(&Rule{At: hosts, Match: func(p *Packet) bool {
		if what == "info" {
			return p.String() == fmt.Sprintf("INFO %d", *id)
		}
		return p.String() == fmt.Sprintf("DATA %d/%s", *id, strings.ReplaceAll(what, ":", "/"))
	}})
	return nil
}

// held returns the handle of an object of the sender that the arguments name.
func (r *runner) held(a *args) (*Sender, norm.Handle, error) {
	s, err := r.sender(a)
	if err != nil {
		return nil, 0, err
	}
	id := norm.TransportID(a.int("object", 0))
	h, ok := s.Handle(id)
	if !ok {
		return nil, 0, fmt.Errorf("no object %d", id)
	}
	return s, h, nil
}

func (r *runner) cancel(a *args) ([]string, error) {
	s, h, err := r.held(a)
	if err != nil {
		return nil, err
	}
	s.Host.Do(func(now time.Time) { err = s.Core.Cancel(now, h) })
	return nil, err
}

func (r *runner) flush(a *args) ([]string, error) {
	s, err := r.sender(a)
	if err == nil {
		s.Host.Do(func(now time.Time) { s.Core.Flush(now) })
	}
	return nil, err
}

func (r *runner) end(a *args) ([]string, error) {
	s, err := r.sender(a)
	if err == nil {
		s.Host.Do(func(now time.Time) { s.Core.End(now) })
	}
	return nil, err
}

func (r *runner) rate(a *args) ([]string, error) {
	s, err := r.sender(a)
	if err != nil {
		return nil, err
	}
	bps, err := parseRate(a.word("bits per second"))
	s.Host.Do(func(now time.Time) { s.Core.SetRate(now, bps) })
	return nil, err
}

func (r *runner) expect(a *args) ([]string, error) {
	x, err := r.receiver(a)
	if err != nil {
		return nil, err
	}
	s, err := r.sender(a)
	if err != nil {
		return nil, err
	}
	p := norm.Preset{
		Sender: s.Config.Node, ID: norm.TransportID(a.int("object", 1)), FEC: s.Config.FEC,
		Kind: choice(a, "kind", []string{"data", "file"}, []norm.Kind{norm.Data, norm.File}),
		Size: int64(a.int("size", a.int("data", 0)*s.Config.SegmentSize)), Info: a.has("info"),
	}
	p.FEC.SegmentSize = s.Config.SegmentSize
	_, err = x.Expect(p, nil)
	return nil, err
}

// received returns the object of the receiver that the arguments name.
func (r *runner) received(a *args) (*Receiver, *Received, error) {
	x, err := r.receiver(a)
	if err != nil {
		return nil, nil, err
	}
	s, err := r.sender(a)
	if err != nil {
		return nil, nil, err
	}
	id := norm.TransportID(a.int("object", 1))
	if o := x.Object(s.Config.Node, id); o != nil {
		return x, o, nil
	}
	return nil, nil, fmt.Errorf("no object %d", id)
}

// present declares a range as already there, which it then is.
func (r *runner) present(a *args) ([]string, error) {
	x, o, err := r.received(a)
	if err != nil {
		return nil, err
	}
	span := a.span("range")
	if f, ok := o.File.(*Pattern); ok {
		f.mark(span)
	}
	x.Host.Do(func(now time.Time) { err = x.Core.Present(now, o.Handle, span) })
	return nil, err
}

func (r *runner) rejectRange(a *args) ([]string, error) {
	x, o, err := r.received(a)
	if err != nil {
		return nil, err
	}
	return nil, x.RejectRange(o, a.span("range"))
}

func (r *runner) abort(a *args) ([]string, error) {
	x, o, err := r.received(a)
	if err != nil {
		return nil, err
	}
	x.Host.Do(func(now time.Time) { err = x.Core.Abort(now, o.Handle) })
	return nil, err
}

// refuse makes a receiver refuse what it is offered from now on.
func (r *runner) refuse(a *args) ([]string, error) {
	x, err := r.receiver(a)
	if err == nil {
		x.Refuse = func(norm.ReceivedObject) bool { return true }
	}
	return nil, err
}

// leave makes a receiver say that it is about to leave.
func (r *runner) leave(a *args) ([]string, error) {
	x, err := r.receiver(a)
	if err == nil {
		x.Host.Do(func(now time.Time) { x.Core.Leave(now) })
	}
	return nil, err
}
