package sap

import (
	"bytes"
	"cmp"
	"errors"
	"iter"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/discovery/sdp"
)

// A ListenerConfig bounds what strangers can make a Listener keep.
type ListenerConfig struct {
	MaxEntries   int // sessions. If zero, 256
	MaxPerSource int // sessions announced from one address. If zero, 16
	MaxBytes     int // of all descriptions together. If zero, 128 KiB
	Limit        int // of the group, in bits per second, from which timeouts follow. If zero, DefaultLimit
}

// A Listener keeps the sessions that are announced on one group. When it is full, the one not heard of for longest makes
// room: a flood of false announcements cannot keep a true one out.
type Listener struct {
	cfg     ListenerConfig
	entries map[key]*entry
	sources map[netip.Addr]int // entries by sender
	bytes   int                // of payloads
	events  []Event
	stats   ListenerStats
}

// ListenerStats counts packets and what was done with them.
type ListenerStats struct {
	Received   uint64 // packets
	Announced  uint64 // new and modified sessions
	Deleted    uint64
	Expired    uint64 // timed out
	Evicted    uint64 // made room for others
	Malformed  uint64 // cut off, not version 1, without source, or no session description in the subset of package sdp
	Encrypted  uint64 // refused
	Compressed uint64 // refused
	TooLong    uint64 // refused
	Stale      uint64 // an older version of what is known, another description of the same version, or a deleted one
	NotDeleted uint64 // deletions of what is not known, or not from where it was announced
}

// A key is what tells announcements apart. One from another address, or with authentication where there was none, "MUST be
// treated as a new and different announcement" (RFC 2974, Section 5).
type key struct {
	from    netip.Addr // of the IP header
	source  netip.Addr // of the SAP header
	auth    bool
	session sdp.Origin // without version; the zero Origin for what cannot be read
	hash    uint16     // of what cannot be read
}

type entry struct {
	key
	version uint64 // sess-version
	payload []byte
	desc    *sdp.Description // nil: it cannot be read, but takes bandwidth
	deleted bool             // kept, so that a replay of what was deleted is known as such
	heard   time.Time        // last
}

// An Event is a session that was announced or modified.
type Event struct {
	From        netip.Addr // who sent it
	Description *sdp.Description
}

// NewListener returns a Listener that has heard nothing.
func NewListener(cfg ListenerConfig) *Listener {
	cfg.MaxEntries = cmp.Or(cfg.MaxEntries, 256)
	cfg.MaxPerSource = cmp.Or(cfg.MaxPerSource, 16)
	cfg.MaxBytes = cmp.Or(cfg.MaxBytes, 128<<10)
	cfg.Limit = cmp.Or(cfg.Limit, DefaultLimit)
	return &Listener{cfg: cfg, entries: map[key]*entry{}, sources: map[netip.Addr]int{}}
}

// Stats returns the counters.
func (l *Listener) Stats() ListenerStats { return l.stats }

// Events returns what is new since it was last called.
func (l *Listener) Events() iter.Seq[Event] {
	return func(yield func(Event) bool) {
		for len(l.events) > 0 {
			e := l.events[0]
			l.events = l.events[1:]
			if !yield(e) {
				return
			}
		}
	}
}

// Announcements returns how many sessions are being announced: no_of_ads, as far as it was heard.
func (l *Listener) Announcements() (n int) {
	for _, e := range l.entries {
		if !e.deleted {
			n++
		}
	}
	return n
}

// Uses reports whether an announced session is sent to the address.
func (l *Listener) Uses(group netip.Addr) bool {
	for _, e := range l.entries {
		if e.deleted || e.desc == nil {
			continue
		}
		for i := range e.desc.Media {
			if e.desc.ConnectionOf(&e.desc.Media[i]).Addr == group {
				return true
			}
		}
	}
	return false
}

// Handle takes a datagram. It keeps none of b.
func (l *Listener) Handle(now time.Time, from netip.Addr, b []byte) {
	l.Advance(now)
	l.stats.Received++
	var p Packet
	switch err := p.Parse(b); {
	case errors.Is(err, ErrEncrypted):
		l.stats.Encrypted++
	case errors.Is(err, ErrCompressed):
		l.stats.Compressed++
	case errors.Is(err, ErrTooLong):
		l.stats.TooLong++
	case err != nil:
		l.stats.Malformed++
	case p.Delete:
		l.remove(from.Unmap(), &p)
	default:
		l.announced(now, from.Unmap(), &p)
	}
}

func keyOf(from netip.Addr, p *Packet) key {
	return key{from: from.WithZone(""), source: p.Source, auth: len(p.Auth) > 0}
}

// announced takes an announcement. That hash and source are known says nothing: "A [...] denial-of-service attack is possible
// if a session announcement receiver relies completely on the originating source and hash fields to indicate change" (RFC
// 2974, Section 10). So payloads are compared.
func (l *Listener) announced(now time.Time, from netip.Addr, p *Packet) {
	k := keyOf(from, p)
	d, err := sdp.Parse(p.Payload)
	if err != nil {
		l.stats.Malformed++
		k.hash = p.Hash
	} else {
		k.session = d.Origin.Session()
	}
	e := l.entries[k]
	switch {
	case e == nil:
	case bytes.Equal(e.payload, p.Payload) && !e.deleted:
		e.heard = now
		return
	case d != nil && d.Origin.Version <= e.version:
		l.stats.Stale++
		return
	default:
		l.drop(e)
	}
	l.add(&entry{key: k, heard: now}, p.Payload, d)
}

// add makes room for an entry, and keeps it.
func (l *Listener) add(e *entry, payload []byte, d *sdp.Description) {
	if l.sources[e.from] >= l.cfg.MaxPerSource {
		l.evict(func(o *entry) bool { return o.from == e.from })
	}
	for len(l.entries) >= l.cfg.MaxEntries || l.bytes+len(payload) > l.cfg.MaxBytes {
		if !l.evict(func(*entry) bool { return true }) {
			return // it is longer than everything may be
		}
	}
	l.entries[e.key] = e
	l.sources[e.from]++
	l.bytes += len(payload)
	e.payload, e.desc = bytes.Clone(payload), d
	if d != nil {
		e.version = d.Origin.Version
		l.stats.Announced++
		l.events = append(l.events, Event{From: e.from, Description: d})
	}
}

// evict drops the entry that was not heard of for longest, among those that match.
func (l *Listener) evict(match func(*entry) bool) bool {
	var oldest *entry
	for _, e := range l.entries {
		if match(e) && (oldest == nil || e.heard.Before(oldest.heard)) {
			oldest = e
		}
	}
	if oldest == nil {
		return false
	}
	l.stats.Evicted++
	l.drop(oldest)
	return true
}

func (l *Listener) drop(e *entry) {
	delete(l.entries, e.key)
	l.bytes -= len(e.payload)
	if l.sources[e.from]--; l.sources[e.from] == 0 {
		delete(l.sources, e.from)
	}
}

// remove takes a deletion: only from the host that announces the session, and if neither packet claims to be authenticated
// where the other does not (RFC 2974, Section 5: "The same rules apply for session modification as for session deletion").
func (l *Listener) remove(from netip.Addr, p *Packet) {
	o, err := sdp.ParseOrigin(p.Payload)
	if err != nil {
		l.stats.Malformed++
		return
	}
	k := keyOf(from, p)
	k.session = o.Session()
	e := l.entries[k]
	if e == nil || e.deleted || o.Version < e.version {
		l.stats.NotDeleted++
		return
	}
	l.stats.Deleted++
	// The version that was deleted, not the one that the deletion names: that could be the highest there is.
	e.deleted, e.desc = true, nil
	l.bytes -= len(e.payload)
	e.payload = nil
}

// Advance drops what has timed out: by the stop time of its description (RFC 2974, Section 4, "Explicit Timeout"), or
// because it was not heard of any more ("Implicit Timeout").
func (l *Listener) Advance(now time.Time) {
	ads := len(l.entries)
	for _, e := range l.entries {
		stopped := e.desc != nil && !e.desc.Stop.IsZero() && now.After(e.desc.Stop)
		if stopped || now.Sub(e.heard) > lifetime(interval(ads, cmp.Or(len(e.payload), MaxPacket), l.cfg.Limit)) {
			l.stats.Expired++
			l.drop(e)
		}
	}
}
