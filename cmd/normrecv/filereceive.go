package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/session"
)

// reportEvery is the time between two reports of progress.
const reportEvery = 500 * time.Millisecond

// A tally is what became of the objects and senders of a run. Only the goroutine that takes the events uses it.
type tally struct {
	began    map[norm.Handle]time.Time // objects under way
	complete int
	failed   int                  // objects that will not come
	senders  map[norm.NodeID]bool // that may still send
	ended    bool                 // a sender said goodbye
}

func newTally() tally {
	return tally{began: make(map[norm.Handle]time.Time), senders: make(map[norm.NodeID]bool)}
}

// over reports whether nothing more is to be expected.
func (t *tally) over() bool { return t.ended && len(t.senders) == 0 }

// err judges a session that is over.
func (t *tally) err() error {
	switch lacking := t.failed + len(t.began); {
	case lacking == 1:
		return errors.New("the sender has ended; one object was not received")
	case lacking > 1:
		return fmt.Errorf("the sender has ended; %d objects were not received", lacking)
	case t.complete == 0:
		return errors.New("the sender ended before anything was complete")
	}
	return nil
}

// receive takes events until what was asked for is there, the time is out, or the senders said goodbye.
func (f *fileReceiver) receive(ctx context.Context, s *session.Session, hint string) error {
	began, hinted := time.Now(), false
	var enough time.Time // since when --count files are complete; zero: they are not
	for tick := began.Add(reportEvery); ; {
		e, err := next(ctx, s, tick)
		switch {
		case ctx.Err() != nil && !enough.IsZero():
			return f.stats(context.WithoutCancel(ctx), s)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, context.DeadlineExceeded):
		case err != nil:
			return err
		default:
			if err := f.handle(ctx, s, e); err != nil {
				return err
			}
		}
		now := time.Now()
		if !now.Before(tick) {
			tick = now.Add(reportEvery)
			st, err := f.report(ctx, s)
			if err != nil {
				return err
			}
			switch {
			case hinted || now.Sub(began) <= silence:
			case st.Datagrams == 0:
				f.progress.Line("%s", hint)
				hinted = true
			case st.Drops.Unauthentic == st.Datagrams:
				f.progress.Line("none of the %d datagrams heard from %s is authenticated by --auth-key: has the sender the same key?", st.Datagrams, f.group)
				hinted = true
			}
		}
		if f.count > 0 && f.tally.complete >= f.count {
			if enough.IsZero() {
				enough = now
			}
			if now.Sub(enough) >= f.linger || f.tally.over() {
				return f.stats(ctx, s)
			}
			continue
		}
		if f.tally.over() && (f.count == 0 || f.tally.failed > 0) {
			return errors.Join(f.stats(ctx, s), f.tally.err())
		}
	}
}

// next waits until a time for the next event; the error is context.DeadlineExceeded if there is none.
func next(ctx context.Context, s *session.Session, until time.Time) (norm.Event, error) {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	return s.Next(ctx)
}

// handle takes one event.
func (f *fileReceiver) handle(ctx context.Context, s *session.Session, e norm.Event) error {
	switch e.Kind {
	case norm.SenderSeen, norm.SenderRestarted:
		f.tally.senders[e.Sender] = true
		f.events.Emit("sender", cli.Fields{"sender": e.Sender, "instance": e.Instance})
	case norm.SenderLost:
		delete(f.tally.senders, e.Sender)
		f.progress.Line("sender %d has fallen silent", e.Sender)
	case norm.SenderEnded:
		delete(f.tally.senders, e.Sender)
		f.tally.ended = true
	case norm.ObjectOffered:
		return f.offered(ctx, s, e.Object)
	case norm.ObjectData:
		f.inbox.Data(e.Object, e.Range) // an error comes up again when the object is complete
	case norm.ObjectComplete:
		return f.finish(ctx, s, e.Object)
	case norm.ObjectAborted:
		if errors.Is(e.Err, norm.ErrCancelled) {
			break // by finish
		}
		delete(f.tally.began, e.Object)
		f.inbox.Abort(e.Object)
		if !errors.Is(e.Err, norm.ErrSenderRestarted) { // then it comes again
			f.tally.failed++
		}
		f.progress.Line("an object of sender %d was given up: %v", e.Sender, e.Err)
		f.events.Emit("aborted", cli.Fields{"sender": e.Sender, "reason": e.Err.Error()})
	case norm.TooSlow:
		return fmt.Errorf("our path to sender %d has borne less than --min-rate %v for long", e.Sender, &f.minRate)
	case norm.NodeCollision:
		f.progress.Line("another node uses our node id %d; give each its own by --node-id", e.Node)
	}
	return nil
}

// offered takes note of a new object, or of why there is no place for it. If it is the first of all and there is no
// space for it, there is nothing to wait for.
func (f *fileReceiver) offered(ctx context.Context, s *session.Session, h norm.Handle) error {
	if r, refused := f.inbox.Refused(h); refused {
		if errors.Is(r.Err, session.ErrNoSpace) && f.tally.complete == 0 && len(f.tally.began) == 0 {
			return cli.Usagef("what is sent does not fit into %s: %w", f.out, r.Err)
		}
		f.tally.failed++
		f.progress.Line("object %d of sender %d refused: %v", r.Object.ID, r.Object.Sender, r.Err)
		f.events.Emit("refused", cli.Fields{"object": r.Object.ID, "sender": r.Object.Sender, "size": r.Object.Size, "reason": r.Err.Error()})
		return nil
	}
	f.tally.began[h] = time.Now()
	if o, err := s.Object(ctx, h); err == nil { // else it was aborted in the meantime, as the next event says
		f.events.Emit("object", cli.Fields{"sender": o.Sender, "object": o.ID, "size": o.Size})
	}
	return nil
}

// finish gives a complete object its name. An object that cannot have it is thrown away: a sender can end itself by
// that, not us.
func (f *fileReceiver) finish(ctx context.Context, s *session.Session, h norm.Handle) error {
	o, err := s.Object(ctx, h)
	if err != nil {
		return nil // aborted in the meantime, as the next event says
	}
	file, refused := f.inbox.Complete(h, o)
	if err := s.Abort(ctx, h); err != nil && !errors.Is(err, norm.ErrUnknownObject) { // nothing more is wanted of it
		return err
	}
	seconds := time.Since(f.tally.began[h]).Seconds()
	delete(f.tally.began, h)
	if refused != nil {
		f.tally.failed++
		f.progress.Line("object %d of sender %d thrown away: %v", o.ID, o.Sender, refused)
		f.events.Emit("aborted", cli.Fields{"sender": o.Sender, "object": o.ID, "reason": refused.Error()})
		return nil
	}
	f.tally.complete++
	path := filepath.Join(f.out, filepath.FromSlash(file.Name))
	sum := hex.EncodeToString(file.SHA256[:])
	f.progress.Line("complete: %s, %s in %.1f s, sha256 %s", path, cli.HumanBytes(file.Size), seconds, sum)
	f.events.Emit("complete", cli.Fields{"name": file.Name, "path": path, "size": file.Size, "sha256": sum, "seconds": seconds})
	return nil
}

// report shows how far the objects under way are, and returns whether any datagram was ever heard.
func (f *fileReceiver) report(ctx context.Context, s *session.Session) (norm.ReceiverStats, error) {
	st, err := s.Stats(ctx)
	if err != nil {
		return st.Receiver, err
	}
	var done, total int64
	for h := range f.tally.began {
		if o, err := s.Object(ctx, h); err == nil {
			done, total = done+o.Received, total+o.Size
		}
	}
	if total > 0 {
		f.progress.Update("receiving", done, total, "")
		f.events.Emit("progress", cli.Fields{"bytes": done, "total": total})
	}
	return st.Receiver, nil
}

func (f *fileReceiver) stats(ctx context.Context, s *session.Session) error {
	st, err := s.Stats(ctx)
	if err == nil {
		if n := st.UDP.Dropped.Overflow; n > 0 {
			f.progress.Line("%s came faster than this host read them, which is no loss of the network: see --max-rate", cli.Count(n, "datagram"))
		}
		f.events.Emit("stats", cli.Fields{"receiver": cli.Counters(st.Receiver), "udp": cli.Counters(st.UDP)})
	}
	return err
}
