package upgrade

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/udp"
)

const (
	progressInterval = time.Second      // how often the progress of sending is told
	flushInterval    = 10 * time.Second // between series of FLUSH, while devices are behind
	endPatience      = 5 * time.Second  // for telling the group that the sender ends
)

// A transmission is the sender of a campaign. Its objects stay repairable until the campaign ends, from where they are on
// the disk.
type transmission struct {
	session *session.Session
	events  chan norm.Event // closed when the session has failed or ended
	stop    context.CancelFunc

	objects   []norm.Handle // the hash list and the images, in the order of their ids
	segments  norm.Handle   // zero: there are no segment hashes
	begun     bool
	sentAll   bool
	decided   int // decisions that were sent: those of the first waves
	paused    bool
	cancelled bool      // all waves are aborted
	tick      time.Time // next progress
	flushAt   time.Time // next series of FLUSH; zero while one is under way
	startedAt time.Time
}

// openConn opens the socket, so that what is wrong with the group or the interface is known before anything else.
func (c *Campaign) openConn() (err error) {
	if c.cfg.Conn != nil {
		c.conn, err = c.cfg.Conn()
		return err
	}
	s := c.frozen.Settings
	u := udp.Config{Group: s.Group, RepairGroup: s.Repairs, Role: udp.Sender, Interface: s.Interface, Source: s.Source, TTL: s.TTL}
	if s.ECN {
		u.ECN = udp.ECT0
	}
	conn, err := udp.Open(u)
	if err != nil {
		return err
	}
	c.conn = conn
	return nil
}

// transmit opens the sender when the campaign is announced, gives it the objects at the time that was announced, and the
// decision of each wave once there is one. In a pause it sends nothing, and devices, which are told of it, wait.
func (c *Campaign) transmit(ctx context.Context, now time.Time) error {
	if c.announced == nil || c.sender == nil && c.coordinator.Paused() {
		return nil
	}
	answers := c.coordinator.Answers()
	decided := len(answers) > 0
	if c.sender == nil {
		if err := c.openSender(); err != nil {
			return err
		}
	}
	if err := c.keepPause(ctx, now); err != nil || c.sender.paused {
		return err
	}
	if !c.sender.begun && (decided || !now.Before(c.announced.start)) {
		if err := c.begin(ctx, now, decided); err != nil {
			return err
		}
	}
	for _, a := range answers[min(c.sender.decided, len(answers)):] {
		if err := c.sender.decide(ctx, a); err != nil {
			return c.sender.lost(c, err)
		}
	}
	plan, _ := c.coordinator.Plan()
	if len(answers) == len(plan.Waves) && !slices.ContainsFunc(answers, func(a commit.Answer) bool { return a.Verdict == commit.Commit }) {
		if err := c.sender.cancel(ctx); err != nil {
			return c.sender.lost(c, err)
		}
	}
	return c.keepUp(ctx, now)
}

// keepPause stops the sender in a pause, and has it go on afterwards.
func (c *Campaign) keepPause(ctx context.Context, now time.Time) error {
	t, paused := c.sender, c.coordinator.Paused()
	if t.paused == paused {
		return nil
	}
	t.paused = paused
	rate := 0.0
	if !paused {
		s := c.frozen.Settings
		rate = cmp.Or(c.rate, s.Rate, s.MaxRate, math.MaxFloat64)
		if t.sentAll {
			t.flushAt = now // for those who came meanwhile
		}
	}
	if err := t.session.SetRate(ctx, rate); err != nil {
		return t.lost(c, err)
	}
	return nil
}

// service bounds what one address may cost a campaign, of which a site behind an address translator is one, too.
var service = norm.ServicePolicy{AddressShare: 0.25, AddressMessages: 200}

// mostGRTT is more than the round trip time of a device behind a satellite; forged feedback does not raise GRTT beyond it.
const mostGRTT = 2 * time.Second

func (c *Campaign) openSender() error {
	s := c.frozen.Settings
	rate, control := s.Rate, s.control()
	switch {
	case c.rate > 0 && control != nil:
		control.MaxRate, control.StartRate, control.MinRate = c.rate, min(control.StartRate, c.rate), min(control.MinRate, c.rate)
	case c.rate > 0:
		rate = c.rate
	}
	tx, err := session.Open(session.Config{Conn: c.conn, Log: c.cfg.Log, Trace: c.cfg.Trace, Send: &norm.SenderConfig{
		Node: norm.NodeID(c.frozen.NodeID), Instance: c.frozen.instance(c.state.Serial), Group: s.Group, RepairGroup: s.Repairs,
		FEC: s.code(), SegmentSize: s.SegmentSize, AutoParity: s.AutoParity, Rate: rate, Control: control, Burst: s.Burst,
		GRTT: s.GRTT, BackoffFactor: s.BackoffFactor, GroupSize: s.GroupSize,
		FirstObject: norm.TransportID(c.release.firstObject()), Auth: c.frozen.auth(),
		Service: service, MaxGRTT: max(mostGRTT, 4*s.GRTT),
	}})
	if err != nil {
		return fmt.Errorf("sender: %w", err)
	}
	c.conn = nil // the session closes it
	ctx, stop := context.WithCancel(context.Background())
	c.sender = &transmission{session: tx, events: make(chan norm.Event), stop: stop}
	go c.sender.listen(ctx)
	return nil
}

// SetRate changes what the campaign sends with, in bits per second, until it is changed again or the process ends. Where
// congestion control sets the rate, it is what that does not exceed.
func (c *Campaign) SetRate(ctx context.Context, rate float64) error {
	if !(rate > 0) {
		return fmt.Errorf("rate %g: want more than nothing", rate)
	}
	return c.act(ctx, func(time.Time) error {
		c.rate = rate
		if c.sender == nil || c.sender.paused {
			return nil // it is opened, or goes on, with this rate
		}
		return c.sender.session.SetRate(ctx, rate)
	})
}

// listen passes on what happens to the session until it is closed or has failed.
func (t *transmission) listen(ctx context.Context) {
	defer close(t.events)
	for {
		e, err := t.session.Next(ctx)
		if err != nil {
			return
		}
		select {
		case t.events <- e:
		case <-ctx.Done():
			return
		}
	}
}

// happenings returns the channel of what happens to the sender, nil if there is none.
func (t *transmission) happenings() <-chan norm.Event {
	if t == nil {
		return nil
	}
	return t.events
}

// targetsHave is what is known of the targets that have shown themselves to this process.
type targetsHave struct {
	seeds   bool // one has an older image
	nothing bool // one has none
}

func (h *targetsHave) note(seeded bool) {
	h.seeds, h.nothing = h.seeds || seeded, h.nothing || !seeded
}

// onRequest reports whether images are sent as far as somebody asks for them: all devices that are there have an older image,
// and search it for what they need not be sent. Those that come later ask as well.
func (h *targetsHave) onRequest() bool { return h.seeds && !h.nothing }

// begin gives the objects to the sender. Images of a transmission that goes on after a restart, or is needed no more, are
// only kept for repair, as most devices have most of them; so are those that devices may have much of (onRequest). Who lacks
// something hears in a NORM_CMD(FLUSH) that all is there to be asked for, and names it in a NORM_NACK; so what nobody lacks is
// not sent, and what many lack is sent once, without a report of each device and its union at the server.
func (c *Campaign) begin(ctx context.Context, now time.Time, decided bool) error {
	t, resumed, onRequest := c.sender, decided || c.state.Begun, c.targetsHave.onRequest()
	if !c.state.Begun {
		i := c.state.issue
		i.Begun = true
		if err := c.state.save(i); err != nil {
			return err
		}
	}
	t.begun, t.sentAll, t.startedAt = true, resumed || onRequest, now
	send := func(o norm.Object, src session.Source, want uint16) error {
		o.Pinned = true
		h, id, err := t.session.Send(ctx, o, src)
		if err == nil && uint16(id) != want {
			err = fmt.Errorf("object %d became %d", want, id)
		}
		t.objects = append(t.objects, h)
		return err
	}
	objects := c.release.objects
	if c.release.segments != nil {
		if err := send(norm.Object{Kind: norm.Data, Size: int64(len(c.release.segments)), RepairOnly: resumed}, bytes.NewReader(c.release.segments), objects.Hashes-1); err != nil {
			return t.lost(c, err)
		}
		t.segments, t.objects = t.objects[0], nil
	}
	err := send(norm.Object{Kind: norm.Data, Size: int64(len(c.release.hashes)), RepairOnly: resumed}, bytes.NewReader(c.release.hashes), objects.Hashes)
	for i, im := range c.release.manifest.Images {
		if err == nil {
			err = send(norm.Object{Kind: norm.File, Size: im.Size, Info: []byte(im.Name), RepairOnly: t.sentAll}, c.release.images[i], objects.Images[i])
		}
	}
	if err != nil {
		return t.lost(c, err)
	}
	if !t.sentAll {
		t.tick = now.Add(progressInterval)
	}
	e := Event{Kind: EventCampaign, State: CampaignSending, Total: c.release.manifest.Size()}
	if onRequest {
		e.Detail = "what devices ask for, as all have an older image"
	}
	c.emit(now, e)
	return nil
}

// decide sends the decision of the next wave, as an object of its own.
func (t *transmission) decide(ctx context.Context, a commit.Answer) error {
	t.decided++
	_, _, err := t.session.Send(ctx, norm.Object{Kind: norm.Data, Size: int64(len(a.Signed)), Pinned: true}, bytes.NewReader(a.Signed))
	t.flushAt = time.Time{}
	return err
}

// cancel lets go of the images, which nobody needs any more.
func (t *transmission) cancel(ctx context.Context) error {
	if t.cancelled {
		return nil
	}
	t.cancelled, t.sentAll, t.tick = true, true, time.Time{}
	for _, h := range slices.Concat(t.objects, []norm.Handle{t.segments}) {
		// An object that the sender has lost already is as good.
		if err := t.session.Cancel(ctx, h); err != nil && !errors.Is(err, norm.ErrUnknownObject) {
			return err
		}
	}
	return nil
}

// lost says that multicast has failed. That is no end: devices fetch what they lack from the rendezvous.
func (t *transmission) lost(c *Campaign, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	c.cfg.Log.Error("multicast has failed, devices are left to the rendezvous", "err", err)
	c.emit(time.Now(), Event{Kind: EventTrouble, Detail: "multicast has failed: " + err.Error()})
	t.sentAll, t.tick, t.flushAt = true, time.Time{}, time.Time{}
	return nil
}

// sent takes what happened to the sender.
func (c *Campaign) sent(now time.Time, e norm.Event, ok bool) {
	t := c.sender
	if !ok {
		t.events = nil
		t.lost(c, errors.New("the socket does not work any more"))
		return
	}
	switch e.Kind {
	case norm.ObjectSent:
		if !t.sentAll && len(t.objects) > 0 && e.Object == t.objects[len(t.objects)-1] {
			t.sentAll, t.tick = true, time.Time{}
			c.emit(now, Event{Kind: EventCampaign, State: CampaignSent, Total: c.release.manifest.Size(), Bytes: c.release.manifest.Size(),
				Seconds: now.Sub(t.startedAt).Seconds()})
		}
	case norm.ObjectPurged:
		if e.Err != nil && !errors.Is(e.Err, norm.ErrCancelled) {
			t.lost(c, e.Err) // the image cannot be read
		}
	case norm.Flushed:
		t.flushAt = now.Add(flushInterval)
	}
}

// arrived notes that a device came, which has to hear how far the sender is.
func (t *transmission) arrived(now time.Time) {
	if t != nil && !t.flushAt.IsZero() {
		t.flushAt = now.Add(time.Second) // for all who come in that second
	}
}

// keepUp tells the progress of sending, and starts the series of FLUSH anew from time to time: a device that came late
// learns from it what it may ask for.
func (c *Campaign) keepUp(ctx context.Context, now time.Time) error {
	t := c.sender
	if !t.tick.IsZero() && !now.Before(t.tick) {
		t.tick = now.Add(progressInterval)
		e := Event{Kind: EventProgress, Total: c.release.manifest.Size(), Counts: c.counts(), Seconds: now.Sub(t.startedAt).Seconds()}
		for _, h := range t.objects[1:] {
			o, err := t.session.Sent(ctx, h)
			if err != nil {
				break
			}
			e.Bytes += o.Position
		}
		c.emit(now, e)
	}
	if !t.flushAt.IsZero() && !now.Before(t.flushAt) {
		t.flushAt = time.Time{}
		if err := t.session.Flush(ctx); err != nil {
			return t.lost(c, err)
		}
	}
	return nil
}

// sendingDeadline returns when transmit has something to do next.
func (c *Campaign) sendingDeadline() (next time.Time) {
	t := c.sender
	if c.announced == nil || t == nil || t.paused {
		return next
	}
	if !t.begun {
		return c.announced.start
	}
	for _, d := range []time.Time{t.tick, t.flushAt} {
		if !d.IsZero() && (next.IsZero() || d.Before(next)) {
			next = d
		}
	}
	return next
}

// end closes the sender; if the campaign is over, it tells the group first.
func (t *transmission) end(over bool) {
	if t == nil {
		return
	}
	if over && t.events != nil {
		ctx, cancel := context.WithTimeout(context.Background(), endPatience)
		defer cancel()
		if t.session.End(ctx) == nil {
			for ended := false; !ended; {
				select {
				case e, ok := <-t.events:
					ended = !ok || e.Kind == norm.Ended
				case <-ctx.Done():
					ended = true
				}
			}
		}
	}
	t.stop()
	t.session.Close()
}
