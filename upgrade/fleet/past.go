package fleet

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
)

// maxPast is how many campaigns that this server does not lead are held in memory, as they are asked for.
const maxPast = 16

// A past is the logs of campaigns that are closed, which do not change any more.
type past struct {
	mu   sync.Mutex
	list []pastCampaign // the one asked for last, last

	// What people were shown last of one: Counts and the like of its Snapshot, and its targets.
	shown commit.CampaignID
	snap  Snapshot
	views []View
}

type pastCampaign struct {
	id commit.CampaignID
	c  *commit.Coordinator
}

// read returns the coordinator of a campaign as its log has it. It can only be asked.
func (s *Server) read(ctx context.Context, id commit.CampaignID) (*commit.Coordinator, error) {
	return commit.OpenCoordinator(commit.CoordinatorConfig{
		Key: s.cfg.Key, Public: s.cfg.Key.Public(),
		Open: func(replay func([]byte) error) (commit.Log, error) {
			return readOnly{}, s.store.ReadLog(ctx, id, replay)
		},
	})
}

type readOnly struct{}

func (readOnly) Append(...[]byte) error { return errors.New("fleet: the log is only read") }

// asPast calls f with the coordinator of a closed campaign.
func (s *Server) asPast(ctx context.Context, id commit.CampaignID, f func(*commit.Coordinator) error) error {
	p := &s.past
	p.mu.Lock()
	defer p.mu.Unlock() // so that one is read once, whoever asks
	i := slices.IndexFunc(p.list, func(c pastCampaign) bool { return c.id == id })
	if i < 0 {
		c, err := s.read(ctx, id)
		if err != nil {
			return err
		}
		if len(p.list) == maxPast {
			p.list = slices.Delete(p.list, 0, 1)
		}
		p.list = append(p.list, pastCampaign{id, c})
		i = len(p.list) - 1
	}
	c := p.list[i]
	p.list = append(slices.Delete(p.list, i, i+1), c)
	return f(c.c)
}

// surveyPast returns a closed campaign and its targets. Who looks at one looks at it again, and it may have many.
func (s *Server) surveyPast(ctx context.Context, snap Snapshot) (Snapshot, []View, error) {
	p := &s.past
	var views []View
	err := s.asPast(ctx, snap.Campaign, func(c *commit.Coordinator) error { // which has locked p
		if p.shown != snap.Campaign {
			p.views = snap.take(logged(c), false)
			p.shown, p.snap = snap.Campaign, snap
		}
		snap, views = p.snap, p.views
		return nil
	})
	return snap, views, err
}

// answer returns what a closed campaign has decided.
func (s *Server) answer(ctx context.Context, campaign string, wave uint32) (a commit.Answer, err error) {
	id, err := manifest.ParseCampaignID(campaign)
	if err != nil {
		return a, discovery.ErrUnknown
	}
	err = s.asPast(ctx, id, func(c *commit.Coordinator) (err error) {
		a, err = c.Answer(time.Time{}, id, wave) // nothing is due: all is decided
		return err
	})
	if err == nil && !a.Known {
		err = discovery.ErrUnknown
	}
	return a, err
}
