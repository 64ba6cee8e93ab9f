package upgrade

import (
	"time"

	"github.com/multicast-upgrade/tool/norm"
)

// A health is whether multicast brings anything.
type health struct {
	since               time.Time // when anything could have been heard first
	any                 time.Time // last datagram of the sender; zero: none
	data                time.Time // last NORM_DATA
	progress            time.Time // last bytes that were new
	datagrams, contents uint64
}

func (h *health) begin(now, start time.Time) {
	h.since = now
	if start.After(now) {
		h.since = start
	}
	h.data, h.progress = h.since, h.since
}

// rest counts from now on, as nothing is sent until then.
func (h *health) rest(now time.Time) { h.since, h.data, h.progress = now, now, now }

// heard takes the counters of the receiver.
func (h *health) heard(now time.Time, st norm.ReceiverStats) {
	if n := heardOf(st); n > h.datagrams {
		h.datagrams, h.any = n, now
	}
	if n := st.Data + st.Duplicates; n > h.contents {
		h.contents, h.data = n, now
	}
}

// heardOf returns how many datagrams came of the sender.
func heardOf(st norm.ReceiverStats) uint64 {
	return st.Datagrams - st.Drops.Malformed - st.Drops.Foreign - st.Drops.Unauthentic - st.Drops.Disbelieved - st.NacksHeard
}

func (h *health) progressed(now time.Time) { h.progress = now }

// never reports whether nothing was ever heard.
func (h *health) never() bool { return h.any.IsZero() }

// silent returns how long nothing was heard that should have been.
func (h *health) silent(now time.Time) time.Duration {
	last := h.since
	if h.any.After(last) {
		last = h.any
	}
	return now.Sub(last)
}

// useless returns why multicast is of no use, or nothing while it may be. A sender that has nothing to say is heard every
// 30 s at least (NORM_CMD(CC)); one that sends what we have is worth waiting for, for its FLUSH comes in the end.
func (h *health) useless(now time.Time, patience time.Duration) string {
	switch {
	case h.never() && h.silent(now) >= patience:
		return "nothing was heard of the sender"
	case h.silent(now) >= 3*patience:
		return "the sender has fallen silent"
	case now.Sub(h.progress) >= 4*patience && now.Sub(h.data) >= patience, now.Sub(h.progress) >= 20*patience:
		return "nothing new comes of the sender"
	}
	return ""
}
