package fleet

import (
	"slices"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A place is a campaign that runs, with who answers its devices: the campaign itself, or the server that leads it.
type place struct {
	id      commit.CampaignID
	start   store.Start
	answers discovery.Backend
}

// elsewhere reports whether another server answers.
func (p *place) elsewhere() bool { _, ok := p.answers.(remote); return ok }

// enter makes a place known to its devices. The caller has Server.mu.
func (s *Server) enter(p *place) {
	for _, t := range p.start.Targets {
		s.byDevice[t.Device] = append(s.byDevice[t.Device], p)
	}
	if w := s.waits[p.id]; w != nil {
		w.end()
		delete(s.waits, p.id)
	}
}

// leave is the inverse of enter.
func (s *Server) leave(p *place) {
	for _, t := range p.start.Targets {
		var rest []*place // a new list: others read the old one
		for _, other := range s.byDevice[t.Device] {
			if other != p {
				rest = append(rest, other)
			}
		}
		if s.byDevice[t.Device] = rest; rest == nil {
			delete(s.byDevice, t.Device)
		}
	}
}

// placesOf returns the campaigns that have the device for a target, the newest first.
func (s *Server) placesOf(device string) []*place {
	s.mu.Lock()
	defer s.mu.Unlock()
	places := slices.Clone(s.byDevice[device])
	slices.Reverse(places)
	return places
}

// place returns a campaign that runs here or that is followed, or nil.
func (s *Server) place(id commit.CampaignID) *place {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.leads[id]; l != nil {
		return &l.place
	}
	if f := s.follows[id]; f != nil {
		return &f.place
	}
	return nil
}
