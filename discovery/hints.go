package discovery

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
)

// What hints can bring about, at most.
const (
	// pollsAtOnce and pollEvery bound the polls for hints: a few at once, and one each so long.
	pollsAtOnce = 3
	pollEvery   = time.Minute

	// spreadPerDevice is how long one device of a group takes of the time over which all of it polls: they come at no more
	// than a thousand a second.
	spreadPerDevice = time.Millisecond
	minSpread       = 200 * time.Millisecond
	maxSpread       = 5 * time.Minute

	// remembered is how many campaigns, and how many hints, a device knows again.
	remembered = 16
	// askAgain is after how long a hint that the server did not confirm is tried again.
	askAgain = time.Hour

	defaultRest = 15 * time.Minute
)

// DefaultGroupSize is how many devices there are if nobody says otherwise, as in package norm.
const DefaultGroupSize = 10_000

// A HintsConfig says how a device uses hints.
type HintsConfig struct {
	// Servers returns the trusted server keys: hints that name another one are of no use. It must not block.
	Servers func() []manifest.PublicKey

	// GroupSize is how many devices there are, about: polls after an announcement are spread over a millisecond for each,
	// so that they do not come all at once. An announcement may claim more, never fewer. If zero, DefaultGroupSize.
	GroupSize int
	// Rest is how often the server is polled without any hint, about. If zero, 15 min.
	Rest time.Duration
	// Busy reports whether there is a campaign under way, so that the server has news at any moment: then [Client.Follow]
	// waits at the server, as it does without hints. May be nil.
	Busy func() bool
}

// Hints decide when a hint is worth a poll. Whatever is heard, and from whomever, it leads to a bounded number of polls of
// one server at random moments, and any poll brings all that there is to be known: so false hints neither cost much, nor
// can they hide true ones. Its methods may be called concurrently.
type Hints struct {
	cfg HintsConfig

	mu      sync.Mutex // guards all below
	at      time.Time  // of the next poll for a hint; zero: none
	free    time.Time  // the time at which pollsAtOnce polls would be allowed: see allowed
	pending []manifest.Digest
	asked   []askedHint     // the last ones
	known   []knownCampaign // the last ones
	news    chan struct{}   // holds one
	stats   HintStats
}

type askedHint struct {
	session manifest.Digest
	at      time.Time
}

type knownCampaign struct {
	id     manifest.CampaignID
	serial uint64
}

// HintStats counts hints by what came of them.
type HintStats struct {
	Heard     uint64
	Foreign   uint64 // of another server
	Known     uint64 // of a serial that is known, or older
	Asked     uint64 // the server was asked already, and did not confirm it
	Polls     uint64 // made for hints
	Confirmed uint64 // hints for which the server had the session description
}

// NewHints returns Hints that have heard nothing.
func NewHints(cfg HintsConfig) *Hints {
	cfg.GroupSize = cmp.Or(cfg.GroupSize, DefaultGroupSize)
	cfg.Rest = cmp.Or(cfg.Rest, defaultRest)
	return &Hints{cfg: cfg, news: make(chan struct{}, 1)}
}

// Stats returns the counters.
func (h *Hints) Stats() HintStats {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stats
}

// Spread returns over how long a group of devices polls after an announcement.
func Spread(devices int) time.Duration {
	if devices >= int(maxSpread/spreadPerDevice) {
		return maxSpread
	}
	return max(minSpread, time.Duration(devices)*spreadPerDevice)
}

// Hear takes a hint, and reports whether the server will be asked because of it.
func (h *Hints) Hear(now time.Time, a Announcement) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stats.Heard++
	switch {
	case !slices.ContainsFunc(h.cfg.Servers(), func(k manifest.PublicKey) bool { return k.Fingerprint() == a.Key }):
		h.stats.Foreign++
		return false
	case h.knows(a.Campaign, a.Serial):
		h.stats.Known++
		return false
	case h.hasAsked(now, a.Session):
		h.stats.Asked++
		return false
	}
	if len(h.pending) < remembered {
		h.pending = append(h.pending, a.Session)
	}
	at := h.allowed(now).Add(rand.N(Spread(max(h.cfg.GroupSize, int(min(a.GroupSize, 1<<30))))))
	if h.at.IsZero() || at.Before(h.at) { // a hint never puts off a poll
		h.at = at
		select {
		case h.news <- struct{}{}:
		default:
		}
	}
	return true
}

// allowed returns when the next poll for a hint may be made.
func (h *Hints) allowed(now time.Time) time.Time {
	if at := h.free.Add(-(pollsAtOnce - 1) * pollEvery); at.After(now) {
		return at
	}
	return now
}

func (h *Hints) knows(id manifest.CampaignID, serial uint64) bool {
	for _, k := range h.known {
		if k.id == id {
			return serial <= k.serial
		}
	}
	return false
}

func (h *Hints) hasAsked(now time.Time, session manifest.Digest) bool {
	for _, a := range h.asked {
		if a.session == session && now.Sub(a.at) < askAgain {
			return true
		}
	}
	return false
}

// Know notes a session description that the server has signed: hints of it, or of an older one, are no news.
func (h *Hints) Know(s *manifest.Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	digest := s.Digest()
	for i, a := range h.asked {
		if a.session == digest {
			h.stats.Confirmed++
			h.asked = append(h.asked[:i:i], h.asked[i+1:]...)
			break
		}
	}
	for i := range h.known {
		if h.known[i].id == s.Campaign {
			h.known[i].serial = max(h.known[i].serial, s.Serial)
			return
		}
	}
	h.known = latest(append(h.known, knownCampaign{s.Campaign, s.Serial}))
}

func latest[E any](list []E) []E { return list[max(0, len(list)-remembered):] }

// next returns when a poll for a hint is due, if one is.
func (h *Hints) next() (time.Time, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.at, !h.at.IsZero()
}

// polling notes that the server is about to be asked, for a hint or without one: whatever was hinted is answered by it.
func (h *Hints) polling(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.pending {
		h.asked = append(h.asked, askedHint{p, now})
	}
	h.asked, h.pending = latest(h.asked), h.pending[:0]
	if !h.at.IsZero() && !now.Before(h.at) {
		h.stats.Polls++
		if h.free.Before(now) {
			h.free = now
		}
		h.free = h.free.Add(pollEvery)
	}
	h.at = time.Time{}
}

// busy reports whether the server is to be waited at. It is also without Hints.
func (h *Hints) busy() bool { return h == nil || h.cfg.Busy != nil && h.cfg.Busy() }

// rest waits until it is time for the next poll, after an answer or a failure, or done is closed: for pause, or, when nothing
// is going on, until a hint is due or the rest has passed.
func (h *Hints) rest(done <-chan struct{}, pause time.Duration, failed bool) {
	if !h.busy() && !failed {
		pause = h.cfg.Rest/2 + rand.N(h.cfg.Rest)
	}
	end := time.Now().Add(pause)
	for {
		until, news := end, (<-chan struct{})(nil)
		if h != nil {
			news = h.news
			if at, ok := h.next(); ok && at.Before(until) {
				until = at
			}
		}
		timer := time.NewTimer(time.Until(until))
		select {
		case <-news:
			timer.Stop()
		case <-timer.C:
			return
		case <-done:
			timer.Stop()
			return
		}
	}
}
