package fleet

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// notices are what a campaign has announced to its waves, and is not in the store yet: the latest of each.
type notices struct {
	wake chan struct{} // buffered, one

	mu   sync.Mutex // guards all below
	last map[uint32]discovery.Notice
}

func newNotices() notices {
	return notices{wake: make(chan struct{}, 1), last: map[uint32]discovery.Notice{}}
}

// put takes a notice. It is called by the campaign's loop.
func (n *notices) put(wave uint32, notice discovery.Notice) {
	n.mu.Lock()
	n.last[wave] = notice
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// take returns what has come since it was last called.
func (n *notices) take() map[uint32]discovery.Notice {
	n.mu.Lock()
	defer n.mu.Unlock()
	last := maps.Clone(n.last)
	clear(n.last)
	return last
}

// back takes a notice that could not be kept, unless there is a newer one.
func (n *notices) back(wave uint32, notice discovery.Notice) {
	n.mu.Lock()
	_, newer := n.last[wave]
	n.mu.Unlock()
	if !newer {
		n.put(wave, notice)
	}
}

// keepNotices brings what the campaign announces into the store, for other servers.
func (s *Server) keepNotices(ctx context.Context, l *lead, lease store.Lease) {
	for {
		select {
		case <-l.notices.wake:
		case <-ctx.Done():
			return
		}
		failed := false
		for wave, notice := range l.notices.take() {
			err := s.store.SaveNotice(ctx, lease, wave, notice.Encode())
			if err == nil || ctx.Err() != nil || errors.Is(err, store.ErrFenced) {
				continue
			}
			s.cfg.Log.Error("other servers cannot be told what is announced", "campaign", l.id, "err", err)
			failed = true
			l.notices.back(wave, notice)
		}
		if failed {
			select {
			case <-time.After(lookInterval):
			case <-ctx.Done():
				return
			}
		}
	}
}
