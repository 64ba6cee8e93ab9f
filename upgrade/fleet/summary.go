package fleet

import (
	"context"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A Summary is how many devices there are, by the state of their keys.
type Summary struct {
	Devices   int `json:"devices"`
	Approved  int `json:"approved"`
	Pending   int `json:"pending"` // somebody has to approve them
	Revoked   int `json:"revoked"`
	NoKey     int `json:"no_key"`
	Duplicate int `json:"duplicate"` // of them, those whose key lives in two agents
}

// A tally is the latest Summary.
type tally struct {
	mu  sync.Mutex // guards all below, and lets one count at a time
	at  time.Time
	sum Summary
}

// tallyTime is how old a [Summary] may be, so that the devices are not counted whenever somebody looks.
const tallyTime = 2 * time.Second

// Summary counts the devices. It is at most two seconds old.
func (s *Server) Summary(ctx context.Context) (Summary, error) {
	t := &s.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.at.IsZero() && time.Since(t.at) < tallyTime {
		return t.sum, nil
	}
	counts, err := s.store.CountDevices(ctx, store.DeviceFilter{})
	if err != nil {
		return Summary{}, err
	}
	twins, err := s.store.CountDevicesUpTo(ctx, store.DeviceFilter{Duplicate: true}, 1<<30)
	if err != nil {
		return Summary{}, err
	}
	t.at = time.Now()
	t.sum = Summary{Approved: counts[store.KeyApproved], Pending: counts[store.KeyPending], Revoked: counts[store.KeyRevoked], NoKey: counts[store.KeyNone], Duplicate: twins}
	for _, n := range counts {
		t.sum.Devices += n
	}
	return t.sum, nil
}
