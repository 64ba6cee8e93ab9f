package normtest

import (
	"fmt"
	"time"

	"github.com/multicast-upgrade/tool/norm"
)

// A Sender is a [norm.Sender] at a host, together with the files it sends.
type Sender struct {
	Host   *Host
	Core   *norm.Sender
	Config norm.SenderConfig
	IDs    map[norm.Handle]norm.TransportID
	Log    []norm.Event

	files   map[norm.Handle]File
	streams map[norm.Handle]*SentStream
}

// AddSender adds a host with a sender to the site. Its Group is filled in.
func (n *Net) AddSender(name string, site *Site, up, down Link, cfg norm.SenderConfig) (*Sender, error) {
	if !cfg.Group.IsValid() {
		cfg.Group = Group
	}
	s := &Sender{Host: n.Add(name, site, up, down)}
	s.Host.OnEvent = s.note
	s.Host.Open = func(h norm.Handle) File { return s.files[h] }
	s.Host.Identify = func(h norm.Handle) string { return fmt.Sprint(s.IDs[h]) }
	s.Host.repairs.always = cfg.RepairGroup == RepairGroup
	return s, s.Restart(cfg)
}

// Restart kills the sender and starts another with the given configuration, which knows nothing of the first.
func (s *Sender) Restart(cfg norm.SenderConfig) error {
	core, err := norm.NewSender(cfg, s.Host.net.Now())
	if err != nil {
		return err
	}
	s.Core, s.Config = core, cfg
	s.files, s.IDs = make(map[norm.Handle]File), make(map[norm.Handle]norm.TransportID)
	s.streams = make(map[norm.Handle]*SentStream)
	s.Host.Start(core)
	return nil
}

func (s *Sender) note(e norm.Event) {
	s.Log = append(s.Log, e)
	if st := s.streams[e.Object]; st != nil && e.Kind == norm.StreamWritable {
		if err := st.goOn(s.Host.net.Now()); err != nil {
			s.Host.net.fault("%s: %v", s.Host.Name, err)
		}
	}
}

// Send enqueues an object, the bytes of which are in f. A nil f stands for [Content] of its id.
func (s *Sender) Send(o norm.Object, f File) (h norm.Handle, id norm.TransportID, err error) {
	s.Host.Do(func(now time.Time) {
		if h, id, err = s.Core.Enqueue(now, o); err != nil {
			return
		}
		if f == nil {
			f = Content(s.Config.Node, id, o.Size).filled()
		}
		s.files[h], s.IDs[h] = f, id
	})
	return h, id, err
}

// Handle returns the handle of the object last sent under id.
func (s *Sender) Handle(id norm.TransportID) (last norm.Handle, ok bool) {
	for h, i := range s.IDs {
		if i == id && h >= last {
			last, ok = h, true
		}
	}
	return last, ok
}

// Content is the file that [Sender.Send] sends and a [Receiver] expects where a test cares only that it is the right one.
func Content(sender norm.NodeID, id norm.TransportID, size int64) *Pattern {
	return &Pattern{Seed: uint64(sender)<<16 | uint64(id), Size: size}
}
