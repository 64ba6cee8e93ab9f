package upgrade

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/session"
)

// hashObject is the number of the hash list among the images.
const hashObject = -1

// A part is a leaf of an image, or a piece of the hash list.
type part struct{ object, index int }

// A reception brings the leaves of a campaign to its stage, and the decision to the agent. Its fields belong to run.
type reception struct {
	a     *Agent
	c     *campaign // only its round and release
	s     *manifest.Session
	node  norm.NodeID
	stage *stage
	late  bool      // others have begun long ago
	start time.Time // when sending begins

	net      *multicast      // nil: there is none
	segments *segmentHashes  // nil: the campaign has none
	keyDue   time.Time       // when the group key is asked for again; zero: it need not
	health   health          // of net
	tail     tail            // what comes by HTTP
	gleaning gleaning        // what is here already
	saved    checkpoint      // of the stage
	rejected map[part]int    // how often a part was wrong
	told     int64           // progress
	toldAt   time.Time       // likewise
	traffic  traffic         // so far
	past     traffic         // of the sessions before net
	attached string          // how the device was when net was joined
	moved    time.Time       // since when it is to be joined anew, as the network has changed; zero: it is not
	done     bool            // the stage is whole and its files are closed
	fatal    error           // the storage failed
	quiet    bool            // it was said that nothing is heard
	results  chan fetched    // of tail
	events   chan norm.Event // of net
}

// run receives until ctx ends. An error means that the storage failed.
func (r *reception) run(ctx context.Context) error {
	r.rejected, r.results, r.events = map[part]int{}, make(chan fetched), make(chan norm.Event)
	have, total := r.stage.progress()
	r.a.tell.tell(Event{Kind: EventReceiving, Campaign: r.c.round.Campaign.String(), State: commit.StateReceiving, Bytes: have, Total: total})
	r.told = -1
	r.health.begin(time.Now(), r.start)
	r.expectSeeds(ctx)
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		r.tail.wait()
		r.gleaning.work.Wait()
		r.saved.work.Wait()
		if r.net != nil {
			r.net.close()
		}
		r.segments.close()
	}()
	var err error
	if r.segments, err = openSegments(r.stage, r.s); err != nil {
		r.a.log.Warn("segment hashes cannot be kept, reception goes on without", "error", err)
	}
	if err := r.join(ctx); err != nil {
		r.fallBack(time.Now(), "multicast cannot be used: "+err.Error())
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for r.fatal == nil {
		r.finishIfWhole(ctx)
		r.glean(ctx)
		r.fetchNext(ctx, time.Now())
		select {
		case e := <-r.events:
			r.event(ctx, e)
		case f := <-r.results:
			r.fetchedPart(ctx, time.Now(), f)
		case g := <-r.gleaning.found:
			r.gleanedPart(ctx, g)
		case <-tick.C:
			r.tick(ctx, time.Now())
		case <-ctx.Done():
			return nil
		}
	}
	return r.fatal
}

// event takes an event of the NORM session.
func (r *reception) event(ctx context.Context, e norm.Event) {
	switch e.Kind {
	case norm.ObjectData:
		r.health.progressed(time.Now())
		r.tail.everything, r.traffic.byHTTP = false, false // what comes need not be fetched
		i, ok := r.net.objects[e.Object]
		switch {
		case !ok || r.done:
		case i == segmentObject:
			r.checkSegments(ctx, span{e.Range.Offset, e.Range.Length})
		case i == hashObject:
			r.checkHashes(ctx, span{e.Range.Offset, e.Range.Length})
		default:
			events, err := r.stage.images[i].stored(e.Range.Offset, e.Range.Length)
			r.vouch(ctx, i, events)
			r.leaves(ctx, i, events)
			r.failed(err)
		}
	case norm.ObjectComplete:
		if decision, ok := r.net.decision(e.Object); ok {
			r.a.do(func(now time.Time) { r.a.decide(now, decision) })
		}
	case norm.ObjectAborted:
		if i, ok := r.net.objects[e.Object]; !ok || r.done || i == segmentObject {
			return
		}
		if isOfNorm(e.Err) {
			r.fallBack(time.Now(), "an object was aborted: "+e.Err.Error())
		} else {
			r.failed(e.Err)
		}
	case norm.SymbolForged:
		r.segments.arm()
		r.a.tell.tell(Event{Kind: EventTrouble, Campaign: r.c.round.Campaign.String(), Group: r.s.Group.String(),
			Detail: fmt.Sprintf("forged data comes from %v in the name of the server", e.From)})
	case norm.SenderEnded:
		r.fallBack(time.Now(), "the sender has ended")
	}
}

// isOfNorm reports whether an object was aborted for a reason of the protocol, and not of the storage.
func isOfNorm(err error) bool {
	for _, e := range []error{norm.ErrSquelched, norm.ErrSenderEnded, norm.ErrSenderRestarted, norm.ErrSenderLost, norm.ErrEvicted, norm.ErrCancelled} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// failed notes that the storage failed.
func (r *reception) failed(err error) {
	if r.fatal == nil && !r.done {
		r.fatal = err
	}
}

// checkHashes takes the pieces of the hash list that a node of the manifest confirms, of those that bytes came for.
// Leaves that came before are verified now. When all bytes are in, the other pieces are asked for again, the second time by
// HTTP.
func (r *reception) checkHashes(ctx context.Context, came span) {
	list, all := r.stage.hashes, r.net.received(ctx, hashObject) == r.stage.m.HashListSize()
	for i, piece := range list.missing() {
		if !all && (piece.Offset >= came.off+came.length || piece.Offset+piece.Length <= came.off) {
			continue
		}
		hashes, ok := list.confirm(i)
		switch {
		case ok:
			r.net.vouch(ctx, hashObject)
			r.expect(ctx, piece, hashes)
		case all:
			r.reject(ctx, part{hashObject, i}, span{piece.Offset, piece.Length})
		}
	}
}

func (r *reception) expect(ctx context.Context, piece manifest.Piece, hashes []hash) {
	events, err := r.stage.expect(piece, hashes)
	r.leaves(ctx, piece.Image, events)
	r.failed(err)
}

// leaves takes what became of leaves of an image.
func (r *reception) leaves(ctx context.Context, image int, events []leafEvent) {
	im := r.stage.images[image]
	for _, e := range events {
		if e.Verified {
			r.present(ctx, image, im.bytes(im.withNeighbours(e.First, e.End)))
			continue
		}
		r.segments.arm()
		for leaf := e.First; leaf < e.End; leaf++ {
			r.a.tell.tell(Event{Kind: EventLeafRejected, Campaign: r.c.round.Campaign.String(), State: commit.StateReceiving,
				Name: im.entry.Name, Leaf: new(leaf)})
			r.reject(ctx, part{image, leaf}, im.bytes(leaf, leaf+1))
		}
	}
}

// present tells the protocol that bytes are verified: what came by multicast it knows, what was on storage or came by
// HTTP it must not ask for.
func (r *reception) present(ctx context.Context, object int, s span) {
	if r.net != nil {
		r.net.present(ctx, object, s)
	}
}

// maxRejects is how often a part may be wrong before it is fetched by HTTP.
const maxRejects = 2

// reject asks for wrong bytes again.
func (r *reception) reject(ctx context.Context, p part, s span) {
	r.rejected[p]++
	if r.net == nil || r.rejected[p]%maxRejects == 0 {
		r.tail.want(p)
		return
	}
	r.net.reject(ctx, p.object, s)
	if p.object == hashObject {
		return
	}
	// The blocks of the leaf reach into its neighbours, which need not come again.
	im := r.stage.images[p.object]
	for _, leaf := range []int{p.index - 1, p.index + 1} {
		if leaf >= 0 && leaf < im.entry.Leaves() && im.verified(leaf) {
			r.net.present(ctx, p.object, im.bytes(leaf, leaf+1))
		}
	}
}

// finishIfWhole closes the stage and hands it over when every leaf is verified. What remains is to hear the decision.
func (r *reception) finishIfWhole(ctx context.Context) {
	if r.done || !r.stage.whole() {
		return
	}
	bytes, _ := r.stage.progress()
	// The commit will note that the stage is there, which must not be more durable than the stage.
	if r.fatal = errors.Join(r.saved.end(), r.stage.sync(), r.stage.close()); r.fatal != nil {
		return
	}
	r.done = true
	r.listen(ctx)
	heard := r.traffic
	r.a.do(func(now time.Time) {
		r.a.noteProgress(now, r.c, bytes, heard)
		r.c.whole = r.c.stop != nil
	})
}

// tick does what is to be done each second.
func (r *reception) tick(ctx context.Context, now time.Time) {
	r.followNetwork(ctx, now)
	if r.done {
		return
	}
	r.failed(r.saved.save(r.stage))
	if have, _ := r.stage.progress(); have != r.told || r.net != nil && now.Sub(r.toldAt) >= statusInterval {
		r.told, r.toldAt = have, now
		heard := r.traffic
		r.a.do(func(now time.Time) { r.a.noteProgress(now, r.c, have, heard) })
	}
	if r.c.paused.Load() || r.gleaning.busy {
		r.health.rest(now) // nothing is sent, or nothing was asked for
	}
	if r.c.paused.Load() {
		return
	}
	r.joinLater(ctx, now)
	if r.net == nil {
		return
	}
	r.health.heard(now, r.listen(ctx))
	if !r.quiet && r.health.silent(now) > 10*time.Second && r.health.never() {
		r.quiet = true
		r.a.tell.tell(Event{Kind: EventTrouble, Campaign: r.c.round.Campaign.String(), Group: r.s.Group.String(),
			Detail: fmt.Sprintf("no datagram was heard in 10 s on interface %s, group %v; normrecv doctor --group %[2]v finds out why", r.a.interfaceName(), r.s.Group)})
	}
	if why := r.health.useless(now, r.a.cfg.Silence); why != "" {
		r.fallBack(now, why)
	}
}

// listen takes the counters of the session.
func (r *reception) listen(ctx context.Context) norm.ReceiverStats {
	if r.net == nil {
		return norm.ReceiverStats{}
	}
	st, t, past := r.net.stats(ctx), &r.traffic, r.past
	t.received, t.lost = past.received+heardOf(st.Receiver), past.lost+st.Receiver.Lost
	t.overruns = past.overruns + st.UDP.Dropped.Overflow
	t.fetched = past.fetched + int64(st.Receiver.Data)*int64(r.s.FEC.SegmentSize)
	return st.Receiver
}

// A multicast is the NORM session of a reception.
type multicast struct {
	*session.Session
	objects map[norm.Handle]int // image, or hashObject
	handles map[int]norm.Handle // the other way round
	offers  offers
	forward sync.WaitGroup // of events to the reception
	stop    context.CancelFunc
}
