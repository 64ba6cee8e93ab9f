package normtest

import (
	"fmt"
	"time"

	"github.com/multicast-upgrade/tool/norm"
)

var streamCommands = map[string]command{
	"stream": (*runner).stream,
	"write":  (*runner).write,
	"hold":   (*runner).hold,
	"read":   (*runner).read,
}

// stream opens a stream.
func (r *runner) stream(a *args) ([]string, error) {
	s, err := r.sender(a)
	if err != nil {
		return nil, err
	}
	c := norm.StreamConfig{
		Buffer: a.int("buffer", 0), FirstBlock: a.uint32("block", 0), FirstOffset: a.uint32("offset", 0), Push: a.has("push"),
	}
	if a.given("info") {
		c.Info = []byte(a.text("info", ""))
	}
	_, err = s.OpenStream(c)
	return nil, err
}

// write writes to a stream, and does what the words say, in this order: message, passive or flush, end.
func (r *runner) write(a *args) ([]string, error) {
	s, h, err := r.held(a)
	if err != nil {
		return nil, err
	}
	st := s.streams[h]
	if st == nil {
		return nil, fmt.Errorf("object %d is no stream", s.IDs[h])
	}
	steps := []struct {
		given bool
		do    func() error
	}{
		{true, func() error { return st.Write(a.int("size", a.int("data", 0)*s.Config.SegmentSize)) }},
		{a.has("message"), st.EndMessage},
		{a.has("passive"), func() error { return st.Flush(norm.FlushPassive) }},
		{a.has("flush"), func() error { return st.Flush(norm.FlushActive) }},
		{a.has("end"), st.Close},
	}
	for _, step := range steps {
		if step.given {
			if err := step.do(); err != nil {
				return []string{err.Error()}, nil
			}
		}
	}
	return nil, nil
}

// hold makes a receiver read no streams until it is told to.
func (r *runner) hold(a *args) ([]string, error) {
	x, err := r.receiver(a)
	if err == nil {
		x.Hold = true
	}
	return nil, err
}

// read ends hold.
func (r *runner) read(a *args) ([]string, error) {
	x, err := r.receiver(a)
	if err != nil {
		return nil, err
	}
	x.Hold = false
	x.Host.Do(func(time.Time) {
		for _, o := range x.Objects {
			if o.Info.Kind == norm.Stream {
				x.Read(o)
			}
		}
	})
	return nil, nil
}
