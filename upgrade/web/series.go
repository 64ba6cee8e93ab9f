package web

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

const (
	// sampleInterval is how often running campaigns are noted.
	sampleInterval = 2 * time.Second
	// maxSamples bounds what is noted of a campaign. When it is reached every other sample goes, and the interval doubles:
	// a plot always shows the whole campaign.
	maxSamples = 600
	// maxHistories bounds the campaigns that are noted; the one that was noted longest ago makes room.
	maxHistories = 64
)

// A sample is how a campaign goes at a moment.
type sample struct {
	at          time.Time
	loss, worst float64 // shares of datagrams
	nacks       uint64  // since it began
	rate        float64 // bits per second
}

// A history is how campaigns went, as far as this process has seen it.
type history struct {
	mu  sync.Mutex // guards all below
	all map[commit.CampaignID]*course
}

type course struct {
	interval time.Duration
	samples  []sample
}

func (c *course) add(x sample) {
	if n := len(c.samples); n > 0 && x.at.Sub(c.samples[n-1].at) < c.interval-c.interval/4 {
		return
	}
	if len(c.samples) == maxSamples {
		for i := range maxSamples / 2 {
			c.samples[i] = c.samples[2*i]
		}
		c.samples = c.samples[:maxSamples/2]
		c.interval *= 2
	}
	c.samples = append(c.samples, x)
}

func (h *history) add(id commit.CampaignID, x sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all == nil {
		h.all = map[commit.CampaignID]*course{}
	}
	c := h.all[id]
	if c == nil {
		if len(h.all) == maxHistories {
			h.drop()
		}
		c = &course{interval: sampleInterval}
		h.all[id] = c
	}
	c.add(x)
}

// drop removes the campaign whose last sample is oldest.
func (h *history) drop() {
	var oldest commit.CampaignID
	var at time.Time
	for id, c := range h.all {
		if last := c.samples[len(c.samples)-1].at; at.IsZero() || last.Before(at) {
			oldest, at = id, last
		}
	}
	delete(h.all, oldest)
}

// sample notes the campaigns that send at the moment.
func (s *Site) sample(ctx context.Context, now time.Time) error {
	running, err := s.store.Campaigns(ctx, store.CampaignFilter{Phases: []store.CampaignPhase{store.PhaseRunning}}, store.Page{Limit: maxHistories})
	if err != nil {
		return err
	}
	for _, c := range running.Items {
		snap, err := s.fleet.Snapshot(ctx, c.ID)
		if err != nil {
			return err
		}
		if snap.Sending.Begun {
			s.history.add(c.ID, sampleOf(snap, now))
		}
	}
	return nil
}

func sampleOf(snap fleet.Snapshot, now time.Time) sample {
	return sample{at: now, loss: snap.Loss, worst: snap.WorstLoss, nacks: snap.Sending.Nacks, rate: snap.Sending.Rate}
}

// A seriesJSON is what the plots are made of: columns of one length.
type seriesJSON struct {
	Time  []int64   `json:"time"`  // seconds since 1970
	Loss  []float64 `json:"loss"`  // percent of datagrams, the mean of all devices
	Worst []float64 `json:"worst"` // and of the device that loses most
	Nacks []float64 `json:"nacks"` // per second
	Rate  []float64 `json:"rate"`  // Mbit/s
	Over  bool      `json:"over"`  // nothing more will come
}

func (h *history) series(id commit.CampaignID) (out seriesJSON) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.all[id]
	if c == nil {
		c = &course{}
	}
	n := len(c.samples)
	out = seriesJSON{Time: make([]int64, n), Loss: make([]float64, n), Worst: make([]float64, n), Nacks: make([]float64, n), Rate: make([]float64, n)}
	for i, x := range c.samples {
		out.Time[i], out.Loss[i], out.Worst[i], out.Rate[i] = x.at.Unix(), 100*x.loss, 100*x.worst, x.rate/1e6
		if i == 0 {
			continue
		}
		was := c.samples[i-1]
		if x.nacks >= was.nacks { // it counts from zero again when another process has taken over
			out.Nacks[i] = float64(x.nacks-was.nacks) / x.at.Sub(was.at).Seconds()
		}
	}
	return out
}

func (s *Site) series(v *visit) error {
	id, err := v.campaignID()
	if err != nil {
		return err
	}
	c, err := s.store.Campaign(v.r.Context(), id)
	if err != nil {
		return err
	}
	out := s.history.series(id)
	out.Over = c.Phase == store.PhaseClosed
	v.w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(v.w).Encode(out)
}
