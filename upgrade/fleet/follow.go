package fleet

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A follow is a campaign that another server leads, or none does at the moment. Its devices are told here what the leader
// has announced last, as the store has it; what they say goes to the leader.
type follow struct {
	place
	posting *discovery.Posting
	serial  int64 // of the notice that is posted; owned by Run

	mu     sync.Mutex // guards all below
	leader store.Owner
	notice discovery.Notice

	opening sync.Mutex                 // guards objects; held while one is opened, so that each is once
	objects map[uint16]upgrade.Content // those that were asked for

	view struct {
		mu   sync.Mutex // guards all below
		at   time.Time  // until when snap is fresh
		snap Snapshot
	}
}

// follow tells the devices of a campaign what the notice of this serial says; 0: there is none yet.
func (s *Server) follow(ctx context.Context, c store.Campaign, serial int64) error {
	s.mu.Lock()
	f := s.follows[c.ID]
	s.mu.Unlock()
	if f == nil {
		start, err := s.store.CampaignStart(ctx, c.ID)
		if errors.Is(err, store.ErrNotFound) {
			return nil // it was closed this very moment
		}
		if err != nil {
			return err
		}
		f = &follow{place: place{id: c.ID, start: start}, posting: s.handler.Post(seats(start))}
		f.answers = remote{s, f, c.Release}
		s.mu.Lock()
		s.follows[c.ID] = f
		s.enter(&f.place)
		s.mu.Unlock()
	}
	f.mu.Lock()
	f.leader = leaderOf(c.Lease)
	f.mu.Unlock()
	s.hub.changed(Changes{Campaigns: []commit.CampaignID{c.ID}}) // what has changed is for its leader to say
	if serial == f.serial {
		return nil
	}
	b, err := s.store.Notice(ctx, c.ID)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	n, err := discovery.ParseNotice(b)
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.notice = n
	f.mu.Unlock()
	f.posting.Publish(n)
	f.serial = serial
	return nil
}

// unfollow is the inverse of follow. The caller has Server.mu.
func (s *Server) unfollow(f *follow) {
	delete(s.follows, f.id)
	s.leave(&f.place)
	f.posting.Withdraw()
}

// followed returns a campaign that another server leads, or nil.
func (s *Server) followed(id commit.CampaignID) *follow {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.follows[id]
}

// leaderNow returns who led the campaign when it was looked at last.
func (f *follow) leaderNow() store.Owner {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.leader
}

// announced takes a notice for the store, in place of one that is not there yet. It is called by the campaign's loop.
func (l *lead) announced(n discovery.Notice) {
	for {
		select {
		case l.notices <- n:
			return
		default:
		}
		select {
		case <-l.notices:
		default:
		}
	}
}

// keepNotice brings what the campaign announces into the store, for other servers.
func (s *Server) keepNotice(ctx context.Context, l *lead, lease store.Lease) {
	for {
		var n discovery.Notice
		select {
		case n = <-l.notices:
		case <-ctx.Done():
			return
		}
		err := s.store.SaveNotice(ctx, lease, n.Encode())
		if err == nil || ctx.Err() != nil || errors.Is(err, store.ErrFenced) {
			continue
		}
		s.cfg.Log.Error("other servers cannot be told what is announced", "campaign", l.id, "err", err)
		select {
		case <-time.After(lookInterval):
		case <-ctx.Done():
			return
		}
		select {
		case l.notices <- n:
		default: // there is a newer one
		}
	}
}
