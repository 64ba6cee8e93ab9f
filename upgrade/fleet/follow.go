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
	postings []*discovery.Posting // by wave
	serial   int64                // of the notices that are posted; owned by Run

	mu      sync.Mutex // guards all below
	leader  store.Owner
	notices map[uint32]discovery.Notice // by wave

	opening sync.Mutex                 // guards objects; held while one is opened, so that each is once
	objects map[uint16]upgrade.Content // those that were asked for

	view struct {
		mu    sync.Mutex // guards all below
		until time.Time  // snap is fresh
		snap  Snapshot
	}
}

// follow tells the devices of a campaign what its notices say, of which this is the serial; 0: there are none yet.
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
		f = &follow{place: place{id: c.ID, start: start}}
		targets := func(yield func(commit.Target) bool) {
			for _, t := range start.Targets {
				if !yield(t.Target) {
					return
				}
			}
		}
		for _, seats := range upgrade.SeatsByWave(s.cfg.Key, c.ID, len(c.Settings.Policy.Waves), targets, seats(start)) {
			f.postings = append(f.postings, s.handler.Post(seats))
		}
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
	stored, err := s.store.Notices(ctx, c.ID)
	if err != nil {
		return err
	}
	notices := map[uint32]discovery.Notice{}
	for wave, b := range stored {
		if notices[wave], err = discovery.ParseNotice(b); err != nil {
			return err
		}
	}
	f.mu.Lock()
	f.notices = notices
	f.mu.Unlock()
	for wave, n := range notices {
		if uint64(wave) < uint64(len(f.postings)) {
			f.postings[wave].Publish(n)
		}
	}
	f.serial = serial
	return nil
}

// unfollow is the inverse of follow. The caller has Server.mu.
func (s *Server) unfollow(f *follow) {
	delete(s.follows, f.id)
	s.leave(&f.place)
	for _, p := range f.postings {
		p.Withdraw()
	}
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
