package upgrade

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
)

// fetchSize is how many bytes one request by HTTP asks for.
const fetchSize = 256 << 10

// A tail is what of a campaign is fetched by HTTP: parts that were wrong too often, or everything that is missing when
// multicast is of no use. One request is under way at a time.
type tail struct {
	everything bool
	parts      map[part]bool
	busy       bool
	next       time.Time // not before
	failures   int
	work       sync.WaitGroup
}

func (t *tail) want(p part) {
	if t.parts == nil {
		t.parts = make(map[part]bool)
	}
	t.parts[p] = true
}

func (t *tail) wait() { t.work.Wait() }

// A fetched is the result of a request: leaves of an image from first on, or one piece of the hash list.
type fetched struct {
	object     int
	first, end int
	bytes      int64 // that came
	events     []leafEvent
	piece      manifest.Piece // with its hashes
	hashes     []hash
	err        error
}

// fallBack begins to fetch everything by HTTP, at a random moment: what cuts this device off may have cut off others.
func (r *reception) fallBack(now time.Time, why string) {
	if r.tail.everything || r.done {
		return
	}
	r.tail.everything, r.traffic.byHTTP = true, true
	r.tail.next = now.Add(rand.N(r.a.cfg.Silence))
	have, total := r.stage.progress()
	r.a.tell.tell(Event{Kind: EventFallback, Campaign: r.c.round.Campaign.String(), State: commit.StateReceiving, Bytes: have, Total: total, Detail: why})
}

// fetchNext begins the next request, if one is wanted.
func (r *reception) fetchNext(ctx context.Context, now time.Time) {
	t := &r.tail
	if t.busy || r.done || now.Before(t.next) || r.c.paused.Load() {
		return
	}
	f, ok := r.nextPart()
	if !ok {
		return
	}
	t.busy = true
	t.work.Go(func() {
		if f.object == hashObject {
			r.fetchPiece(ctx, &f)
		} else {
			r.fetchLeaves(ctx, &f)
		}
		select {
		case r.results <- f:
		case <-ctx.Done():
		}
	})
}

// nextPart chooses what to fetch: hashes before leaves, because without them no leaf can be told from a wrong one.
func (r *reception) nextPart() (f fetched, ok bool) {
	for i, piece := range r.stage.hashes.missing() {
		if r.tail.everything || r.tail.parts[part{hashObject, i}] {
			return fetched{object: hashObject, first: i, piece: piece}, true
		}
	}
	for p := range r.tail.parts {
		if p.object == hashObject || r.stage.images[p.object].verified(p.index) {
			delete(r.tail.parts, p)
			continue
		}
		return fetched{object: p.object, first: p.index, end: p.index + 1}, true
	}
	if !r.tail.everything || r.gleaning.wanted {
		return fetched{}, false // what is here need not be fetched
	}
	for i, im := range r.stage.images {
		first, ok := im.nextMissing(0)
		if !ok {
			continue
		}
		end := first + 1
		for end < im.entry.Leaves() && int64(end-first+1)*im.entry.LeafSize <= fetchSize && !im.verified(end) {
			end++
		}
		return fetched{object: i, first: first, end: end}, true
	}
	return fetched{}, false
}

// fetchPiece fetches one piece of the hash list.
func (r *reception) fetchPiece(ctx context.Context, f *fetched) {
	b := make([]byte, f.piece.Length)
	var byGateway bool
	byGateway, f.err = r.a.fetch(ctx, r.s.Campaign.String(), r.s.Objects.Hashes, b, f.piece.Offset)
	if f.err == nil {
		if f.hashes, f.err = r.stage.m.OpenPiece(f.piece, b); f.err != nil {
			r.distrust(byGateway)
		}
	}
	if f.err != nil {
		return
	}
	f.bytes = f.piece.Length
	if _, f.err = r.stage.hashes.WriteAt(b, f.piece.Offset); f.err == nil {
		r.stage.hashes.confirm(f.first)
	}
}

// errWrongLeaf: a server that has the wrong bytes is asked again, and not at once.
var errWrongLeaf = errors.New("the server gives other bytes than were signed")

// fetchLeaves fetches leaves of an image.
func (r *reception) fetchLeaves(ctx context.Context, f *fetched) {
	im := r.stage.images[f.object]
	at := im.bytes(f.first, f.end)
	b := make([]byte, min(at.length, fetchSize))
	for at.length > 0 && f.err == nil {
		p := b[:min(at.length, fetchSize)]
		var byGateway bool
		if byGateway, f.err = r.a.fetch(ctx, r.s.Campaign.String(), r.s.Objects.Images[f.object], p, at.off); f.err != nil {
			return
		}
		f.bytes += int64(len(p))
		var events []leafEvent
		events, f.err = im.put(p, at.off)
		if slices.ContainsFunc(events, func(e leafEvent) bool { return !e.Verified }) {
			r.distrust(byGateway)
			if f.err == nil && !byGateway {
				f.err = errWrongLeaf
			}
		}
		f.events = append(f.events, events...)
		at.off, at.length = at.off+int64(len(p)), at.length-int64(len(p))
	}
}

// fetchedPart takes the result of a request.
func (r *reception) fetchedPart(ctx context.Context, now time.Time, f fetched) {
	t := &r.tail
	t.busy = false
	r.past.fetched, r.traffic.fetched = r.past.fetched+f.bytes, r.traffic.fetched+f.bytes
	if r.done {
		return
	}
	if f.object == hashObject && f.err == nil {
		delete(t.parts, part{hashObject, f.first})
		r.present(ctx, hashObject, span{f.piece.Offset, f.piece.Length})
		r.expect(ctx, f.piece, f.hashes)
	}
	if f.object != hashObject {
		r.leaves(ctx, f.object, f.events)
	}
	if f.err == nil {
		t.failures = 0
		return
	}
	if t.failures == 0 {
		r.a.tell.tell(Event{Kind: EventTrouble, Campaign: r.c.round.Campaign.String(), Detail: "fetching by HTTP: " + f.err.Error()})
	}
	t.next = now.Add(retryAfter(t.failures))
	t.failures++
}
