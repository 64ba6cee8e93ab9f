package fleet

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// An instance tells one start of an agent from all others.
type instance [16]byte

// A hello is a device that shows itself, on its way to the registry.
type hello struct {
	seen   store.Sighting
	answer chan error // buffered, one
}

const (
	// gatherTime is how long devices wait for others to be written together with.
	gatherTime = 50 * time.Millisecond
	maxGather  = 500
	// countInterval is how often the devices that wait for approval are counted anew.
	countInterval = 10 * time.Second
)

// register writes the devices that show themselves to the store, those of 50 ms at once.
func (s *Server) register(ctx context.Context) {
	count := time.NewTicker(countInterval)
	defer count.Stop()
	for {
		var batch []hello
		select {
		case h := <-s.hellos:
			batch = append(batch, h)
		case <-count.C:
			if err := s.countPending(ctx); err != nil && ctx.Err() == nil {
				s.cfg.Log.Error("devices cannot be counted", "err", err)
			}
			continue
		case <-ctx.Done():
			return
		}
		end := time.NewTimer(gatherTime)
		for more := true; more && len(batch) < maxGather; {
			select {
			case h := <-s.hellos:
				batch = append(batch, h)
			case <-end.C:
				more = false
			}
		}
		end.Stop()
		seen := make([]store.Sighting, len(batch))
		for i, h := range batch {
			seen[i] = h.seen
		}
		err := s.store.SeeDevices(context.WithoutCancel(ctx), seen...)
		for _, h := range batch {
			h.answer <- err
		}
		s.hub.changed(Changes{Devices: true})
	}
}

// see has the registry note a device.
func (s *Server) see(ctx context.Context, seen store.Sighting) error {
	h := hello{seen, make(chan error, 1)}
	select {
	case s.hellos <- h:
		return <-h.answer
	case <-s.done:
		return errStopped
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

var errStopped = &discovery.Refusal{Status: http.StatusServiceUnavailable, Reason: "busy", Detail: "the server ends"}

// countPending counts the devices whose key nobody has approved.
func (s *Server) countPending(ctx context.Context) error {
	counts, err := s.store.CountDevices(ctx, store.DeviceFilter{})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = counts[store.KeyNone] + counts[store.KeyPending]
	return nil
}

// greet takes a device into the registry, or brings up to date what is known of it. Its key counts once it is approved.
func (s *Server) greet(ctx context.Context, h discovery.Hello, key manifest.PublicKey) error {
	now := time.Now().UTC()
	seen := store.Sighting{Device: h.Device, Product: h.Product, Hardware: h.Hardware, Version: h.Version, At: now}
	d, err := s.store.DeviceWithoutTags(ctx, h.Device)
	known := err == nil
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if h.Token != "" && !key.IsZero() && !(known && d.Key == key && d.KeyState == store.KeyApproved) {
		// One that was used by this device with this key has done its work, and the rest is as without.
		err := s.store.Enrol(ctx, h.Token, seen, key, now)
		if err == nil {
			s.hub.changed(Changes{Devices: true})
		}
		return err
	}
	if !known && !s.room() {
		return ErrPending
	}
	if known && d.KeyState == store.KeyApproved && d.Key != key {
		return store.ErrExists // who does not hold the device's key says nothing about it
	}
	if err := s.see(ctx, seen); err != nil || key.IsZero() {
		return err
	}
	if d.Key != key {
		if err := s.store.ShowKey(ctx, h.Device, key, now); err != nil {
			return err
		}
		s.hub.changed(Changes{Devices: true})
	}
	if s.isTwin(h, key) && !d.Duplicate {
		err := s.store.MarkDuplicate(ctx, h.Device, store.By{Actor: h.Device, At: now})
		s.hub.changed(Changes{Devices: true})
		return err
	}
	return nil
}

// room takes a place among the devices that nobody has approved, if there is one.
func (s *Server) room() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending >= s.cfg.MaxPending {
		return false
	}
	s.pending++
	return true
}

// isTwin notes which agent said hello and reports whether it was there before another one: an agent that restarts is a new
// instance and its old one is gone, so two that take turns are alive at once. Only who holds the key is heard here.
func (s *Server) isTwin(h discovery.Hello, key manifest.PublicKey) bool {
	var id instance
	if key.IsZero() || len(h.Agent) != len(id) {
		return false
	}
	copy(id[:], h.Agent)
	s.mu.Lock()
	defer s.mu.Unlock()
	latest := s.twins[h.Device]
	if id == latest[0] {
		return false
	}
	s.twins[h.Device] = [2]instance{id, latest[0]}
	return id == latest[1]
}

// changedDevice passes on that the registry has changed, unless err says that it has not.
func (s *Server) changedDevice(err error) error {
	if err == nil {
		s.hub.changed(Changes{Devices: true})
	}
	return err
}

// ApproveDevice says that the key which a device has shown is its own. A person has compared the fingerprint.
func (s *Server) ApproveDevice(ctx context.Context, device string, revision int64, actor string) error {
	return s.changedDevice(s.store.ApproveKey(ctx, device, revision, s.by(actor)))
}

// RevokeDevice says that the key of a device never counts again.
func (s *Server) RevokeDevice(ctx context.Context, device string, revision int64, actor string) error {
	return s.changedDevice(s.store.RevokeKey(ctx, device, revision, s.by(actor)))
}

// PlaceDevice sets the site and tags of a device. Campaigns that were started keep the site they have.
func (s *Server) PlaceDevice(ctx context.Context, device string, revision int64, site string, tags []string, actor string) error {
	return s.changedDevice(s.store.PlaceDevice(ctx, device, revision, site, tags, s.by(actor)))
}

// ReplaceDeviceKey forgets the key of a device, as after its storage was renewed, so that it can show another.
func (s *Server) ReplaceDeviceKey(ctx context.Context, device string, revision int64, actor string) error {
	s.mu.Lock()
	delete(s.twins, device)
	s.mu.Unlock()
	return s.changedDevice(s.store.ReplaceKey(ctx, device, revision, s.by(actor)))
}

// RemoveDevice forgets a device that is no target of an open campaign ([ErrOpen]).
func (s *Server) RemoveDevice(ctx context.Context, device string, revision int64, actor string) error {
	open, err := s.store.Overlaps(ctx, []string{device})
	if err != nil {
		return err
	}
	if len(open) > 0 {
		return ErrOpen
	}
	s.mu.Lock()
	delete(s.twins, device)
	s.mu.Unlock()
	return s.changedDevice(s.store.RemoveDevice(ctx, device, revision, s.by(actor)))
}
