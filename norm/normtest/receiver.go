package normtest

import (
	"fmt"
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/norm"
)

// A Receiver is a [norm.Receiver] at a host, together with the files it receives. It accepts what it is offered.
type Receiver struct {
	Host    *Host
	Core    *norm.Receiver
	Config  norm.ReceiverConfig
	Objects []*Received // in the order they were offered or expected
	Log     []norm.Event

	Refuse func(norm.ReceivedObject) bool // nil: refuses nothing
	Hold   bool                           // do not read streams
	Create func(norm.ReceivedObject) File // where to store an object; nil: [Content], which checks every byte
}

// A Received is an object of a [Receiver].
type Received struct {
	Handle   norm.Handle
	Info     norm.ReceivedObject // as it was last known
	File     File
	Complete bool
	Err      error // why it was aborted

	// Of a stream, which has no File:
	Read  int64 // bytes read
	Ended bool  // read to its end
}

// AddReceiver adds a host with a receiver to the site. Its Group is filled in.
func (n *Net) AddReceiver(name string, site *Site, up, down Link, cfg norm.ReceiverConfig) (*Receiver, error) {
	if !cfg.Group.IsValid() {
		cfg.Group = Group
	}
	r := &Receiver{Host: n.Add(name, site, up, down)}
	r.Host.OnEvent = r.note
	r.Host.Open = func(h norm.Handle) File {
		if o := r.find(h); o != nil {
			return o.File
		}
		return nil
	}
	r.Host.Identify = func(h norm.Handle) string {
		if o := r.find(h); o != nil {
			return fmt.Sprintf("%d/%d", o.Info.Sender, o.Info.ID)
		}
		return "?"
	}
	return r, r.Restart(cfg)
}

// Restart kills the receiver and starts another with the given configuration, without its objects.
func (r *Receiver) Restart(cfg norm.ReceiverConfig) error {
	core, err := norm.NewReceiver(cfg)
	if err != nil {
		return err
	}
	r.Core, r.Config, r.Objects = core, cfg, nil
	r.Host.Start(core)
	return nil
}

// Expect presets an object. A nil f stands for [Content] of its id.
func (r *Receiver) Expect(p norm.Preset, f File) (h norm.Handle, err error) {
	r.Host.Do(func(now time.Time) {
		if h, err = r.Core.Expect(now, p); err != nil {
			return
		}
		info := norm.ReceivedObject{Sender: p.Sender, ID: p.ID, Kind: p.Kind, Size: p.Size, FEC: p.FEC, HasInfo: p.Info}
		r.add(h, info, f)
	})
	return h, err
}

// RejectRange throws away a range of o, and what the core drops with it is to be written again.
func (r *Receiver) RejectRange(o *Received, at norm.Range) (err error) {
	r.Host.Do(func(now time.Time) { err = r.Core.RejectRange(now, o.Handle, at) })
	if err != nil {
		return err
	}
	o.Complete = false
	if f, ok := o.File.(*Pattern); ok {
		f.Forget(at)
	}
	return nil
}

// Object returns the newest object of sender with the given id, or nil.
func (r *Receiver) Object(sender norm.NodeID, id norm.TransportID) *Received {
	for _, o := range slices.Backward(r.Objects) {
		if o.Info.Sender == sender && o.Info.ID == id {
			return o
		}
	}
	return nil
}

// Completed returns how many objects are complete.
func (r *Receiver) Completed() (n int) {
	for _, o := range r.Objects {
		if o.Complete {
			n++
		}
	}
	return n
}

func (r *Receiver) add(h norm.Handle, info norm.ReceivedObject, f File) {
	switch {
	case f != nil || info.Kind == norm.Stream:
	case r.Create != nil:
		f = r.Create(info)
	default:
		f = Content(info.Sender, info.ID, info.Size)
	}
	r.Objects = append(r.Objects, &Received{Handle: h, Info: info, File: f})
}

func (r *Receiver) find(h norm.Handle) *Received {
	for _, o := range slices.Backward(r.Objects) {
		if o.Handle == h {
			return o
		}
	}
	return nil
}

func (r *Receiver) note(e norm.Event) {
	r.Log = append(r.Log, e)
	o := r.find(e.Object)
	switch e.Kind {
	case norm.ObjectOffered:
		info, _ := r.Core.Object(e.Object)
		if r.Refuse != nil && r.Refuse(info) {
			r.Core.Reject(r.Host.net.Now(), e.Object)
			return
		}
		r.add(e.Object, info, nil)
		r.Core.Accept(r.Host.net.Now(), e.Object)
	case norm.ObjectInfo:
		info, _ := r.Core.Object(e.Object)
		info.Info = slices.Clone(info.Info)
		o.Info = info
	case norm.ObjectComplete:
		o.Complete = true
		if f, ok := o.File.(*Pattern); ok && !f.Whole() {
			r.Host.net.fault("%s completed an object that differs from what was sent: %v", r.Host.Name, o)
		}
	case norm.StreamReadable:
		if !r.Hold {
			r.Read(o)
		}
	case norm.ObjectAborted:
		o.Err = e.Err
	}
}
