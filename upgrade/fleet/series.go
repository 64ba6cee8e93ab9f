package fleet

import (
	"context"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/commit"
)

const (
	// sampleInterval is how often campaigns that send are noted.
	sampleInterval = 2 * time.Second
	// maxSamples bounds what is noted of a campaign. When it is reached every other sample goes, and the interval doubles:
	// a plot always shows the whole campaign.
	maxSamples = 600
	// maxHistories bounds the campaigns that are noted; the one that was noted longest ago makes room.
	maxHistories = 64
)

// A Sample is how a campaign went for the time since the sample before.
type Sample struct {
	At        time.Time `json:"at"`
	Reporting int       `json:"reporting"`  // devices that have said how much they lose; if none has, the next two are unknown
	Loss      float64   `json:"loss"`       // the mean share of datagrams that they lost
	WorstLoss float64   `json:"worst_loss"` // and of the device that loses most
	Nacks     float64   `json:"nacks"`      // per second
	Repairs   float64   `json:"repairs"`    // segments of repair sent, per second
	Rate      float64   `json:"rate"`       // bits per second sent, repair and all
}

// A count is what counters of the sender stood at.
type count struct {
	at                    time.Time
	nacks, repairs, bytes uint64
}

// perSecond returns how fast a counter rose, which counts from zero again when another process has taken over.
func perSecond(was, is uint64, span time.Duration) float64 {
	if is < was || span <= 0 {
		return 0
	}
	return float64(is-was) / span.Seconds()
}

// A history is how campaigns went, as far as this process has led them.
type history struct {
	mu  sync.Mutex // guards all below
	all map[commit.CampaignID]*course
}

type course struct {
	interval time.Duration
	last     count
	samples  []Sample
}

func (c *course) add(snap Snapshot, now time.Time) {
	p := snap.Sending
	is := count{now, p.Nacks, p.Repairs, p.Bytes}
	if c.last.at.IsZero() {
		c.last = is
		return
	}
	span := now.Sub(c.last.at)
	if span < c.interval-c.interval/4 {
		return
	}
	if len(c.samples) == maxSamples {
		for i := range maxSamples / 2 {
			c.samples[i] = between(c.samples[2*i], c.samples[2*i+1])
		}
		c.samples = c.samples[:maxSamples/2]
		c.interval *= 2
	}
	c.samples = append(c.samples, Sample{
		At: now, Reporting: snap.Reporting, Loss: snap.Loss, WorstLoss: snap.WorstLoss,
		Nacks: perSecond(c.last.nacks, is.nacks, span), Repairs: perSecond(c.last.repairs, is.repairs, span), Rate: 8 * perSecond(c.last.bytes, is.bytes, span),
	})
	c.last = is
}

// between returns one sample for two that follow each other.
func between(a, b Sample) Sample {
	return Sample{b.At, b.Reporting, (a.Loss + b.Loss) / 2, max(a.WorstLoss, b.WorstLoss), (a.Nacks + b.Nacks) / 2, (a.Repairs + b.Repairs) / 2, (a.Rate + b.Rate) / 2}
}

func (h *history) add(snap Snapshot, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all == nil {
		h.all = map[commit.CampaignID]*course{}
	}
	c := h.all[snap.Campaign]
	if c == nil {
		if len(h.all) == maxHistories {
			h.drop()
		}
		c = &course{interval: sampleInterval}
		h.all[snap.Campaign] = c
	}
	c.add(snap, now)
}

// drop removes the campaign that was noted longest ago.
func (h *history) drop() {
	var oldest commit.CampaignID
	var at time.Time
	for id, c := range h.all {
		if at.IsZero() || c.last.at.Before(at) {
			oldest, at = id, c.last.at
		}
	}
	delete(h.all, oldest)
}

// Series returns how a campaign went while the process that leads it did so, the oldest first: at most 600 samples, whatever
// its length.
func (s *Server) Series(ctx context.Context, id commit.CampaignID) ([]Sample, error) {
	return inquire(ctx, s, id, question{What: askSeries}, func() ([]Sample, error) { return s.seriesHere(ctx, id) })
}

func (s *Server) seriesHere(ctx context.Context, id commit.CampaignID) ([]Sample, error) {
	if _, err := s.store.Campaign(ctx, id); err != nil {
		return nil, err
	}
	h := &s.history
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.all[id]
	if c == nil {
		return nil, nil
	}
	return append([]Sample(nil), c.samples...), nil
}

// keepHistory notes the campaigns that this server leads, until ctx ends.
func (s *Server) keepHistory(ctx context.Context) {
	tick := time.NewTicker(sampleInterval)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			s.mu.Lock()
			leads := make([]*lead, 0, len(s.leads))
			for _, l := range s.leads {
				leads = append(leads, l)
			}
			s.mu.Unlock()
			for _, l := range leads {
				if snap, err := s.Snapshot(ctx, l.id); err == nil && snap.Sending.Begun { // another time, if not
					s.history.add(snap, now)
				}
			}
		case <-ctx.Done():
			return
		}
	}
}
