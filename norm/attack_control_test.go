package norm_test

import (
	"bytes"
	"flag"
	"fmt"
	"iter"
	"net/netip"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/normtest"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// attackSeeds is how many campaigns each attack is tried on; the more, the less the end of one hangs on a few datagrams.
var attackSeeds = flag.Uint64("attack.seeds", 2, "campaigns for each attack")

// A fleet is a campaign as its devices see it, without authentication: a sender, receivers that lose 5 % each and know
// beforehand what will be sent, and an injector in their midst who hears all and says what he likes.
type fleet struct {
	*normtest.Net
	t  *testing.T
	s  *normtest.Sender
	r  []*normtest.Receiver
	in *injector

	last  wire.Sequence // of the sender
	heard []recording   // what it sent first
}

const (
	fleetSize   = 6
	fleetObject = 2_000_000 // bytes
	fleetLeaf   = 64 << 10
	fleetRate   = 2e6
)

// A campaign says how a fleet is set up.
type campaign struct {
	doubt      bool // receivers and sender defend themselves as those of package upgrade do
	controlled bool // the rate, by congestion control
	spoofed    bool // the injector sends from the sender's address
	late       bool // he begins when all was sent once
	far        bool // a round trip takes 200 ms
	seed       uint64
}

// newFleet starts the campaign.
func newFleet(t *testing.T, c campaign) *fleet {
	t.Helper()
	f := &fleet{t: t, Net: normtest.New(10 + c.seed)}
	link := normtest.Link{Delay: 20 * time.Millisecond}
	if c.far {
		link.Delay = 100 * time.Millisecond
	}
	sc := norm.SenderConfig{Node: 1, Instance: 1, Rate: fleetRate, GRTT: 100 * time.Millisecond, SegmentSize: 1000, GroupSize: 10, AutoParity: -1,
		FEC: fec.Params{ID: fec.ReedSolomonGF8, MaxBlockLen: 32, MaxParity: 32}}
	if c.controlled {
		sc.Rate, sc.Control = 0, &norm.RateControl{StartRate: 500e3, MinRate: 200e3, MaxRate: fleetRate}
	}
	var evidence *norm.EvidencePolicy
	if c.doubt {
		sc.Service = norm.ServicePolicy{AddressShare: 0.25, AddressMessages: 200}
		sc.MaxGRTT = 500 * time.Millisecond
		if sc.Control != nil {
			sc.Control.Patience = 2 * time.Second
		}
		evidence = &norm.EvidencePolicy{LastObject: 1}
	}
	var err error
	if f.s, err = f.AddSender("s", nil, normtest.Link{}, link, sc); err != nil {
		t.Fatal(err)
	}
	lossy := link
	lossy.Loss = normtest.Random(0.05)
	if c.controlled {
		lossy.Loss = normtest.Random(0.005)
	}
	sc.FEC.SegmentSize = sc.SegmentSize
	for i := range fleetSize {
		r, err := f.AddReceiver(fmt.Sprint("r", i+1), nil, link, lossy, norm.ReceiverConfig{
			Node: norm.NodeID(i + 2), Seed: uint64(i), Join: norm.JoinAll, Sender: 1, Evidence: evidence})
		if err == nil {
			_, err = r.Expect(norm.Preset{Sender: 1, ID: 0, Kind: norm.File, Size: fleetObject, FEC: sc.FEC}, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		f.r = append(f.r, r)
	}
	// A device verifies leaves as they come.
	leaves := map[*normtest.Host]int64{}
	f.OnEvent = func(h *normtest.Host, e norm.Event) {
		if e.Kind != norm.ObjectData {
			return
		}
		if leaves[h] += e.Range.Length; leaves[h] >= fleetLeaf {
			leaves[h] -= fleetLeaf
			h.Node().(*norm.Receiver).Vouch(f.Now(), e.Object)
		}
	}
	f.in = &injector{fleet: f}
	f.in.host = f.Add("injector", nil, link, normtest.Link{})
	if c.spoofed {
		f.in.host.Move(f.s.Host.Addr)
	}
	f.in.host.Start(f.in)
	f.OnSend = func(p *normtest.Packet) {
		if p.From == f.s.Host {
			h, _ := wire.Peek(p.B)
			f.last = h.Sequence
			if len(f.heard) < 100 {
				f.heard = append(f.heard, bytes.Clone(p.B))
			}
		}
	}
	return f
}

// from returns the headers of a message in the sender's name.
func (f *fleet) from() (wire.Header, wire.SenderHeader) {
	return wire.Header{Source: 1, Sequence: f.last + 1}, wire.SenderHeader{
		Instance: 1, GRTT: wire.EncodeRTT(f.s.Core.Stats().GRTT), Backoff: 4, GroupSize: wire.EncodeGroupSize(10)}
}

func (f *fleet) done() bool {
	for _, r := range f.r {
		if o := r.Object(1, 0); o == nil || !o.Complete {
			return false
		}
	}
	return true
}

// A message is what an injector says.
type message interface {
	AppendBinary(b []byte) ([]byte, error)
}

// An injector says something every now and then, until it is enough.
type injector struct {
	*fleet
	host  *normtest.Host
	every time.Duration
	say   func(n int) message // the nth
	to    netip.AddrPort      // zero: the group
	n     int
	next  time.Time
}

func (x *injector) Poll(now time.Time, b []byte) ([]byte, netip.AddrPort, bool) {
	if x.every == 0 || now.Before(x.next) {
		return b, netip.AddrPort{}, false
	}
	x.next = now.Add(x.every)
	x.n++
	to := x.to
	if !to.IsValid() {
		to = normtest.Group
	}
	b, err := x.say(x.n).AppendBinary(b)
	if err != nil {
		x.t.Fatal(err)
	}
	return b, to, true
}

func (x *injector) Deadline() time.Time {
	if x.every == 0 {
		return time.Time{}
	}
	return x.next
}
func (*injector) Handle(time.Time, norm.Datagram) {}
func (*injector) Complete(time.Time, *norm.IO)    {}
func (*injector) Advance(time.Time)               {}
func (*injector) Requests() iter.Seq[*norm.IO]    { return func(func(*norm.IO) bool) {} }
func (*injector) Events() iter.Seq[norm.Event]    { return func(func(norm.Event) bool) {} }

// forever is how long a campaign that does not end takes.
const forever = 40 * time.Second

// An outcome is what became of a campaign.
type outcome struct {
	took        time.Duration    // of all campaigns; forever for one that did not end
	nacks       uint64           // that receivers sent
	disbelieved uint64           // messages in the sender's name that somebody disbelieved
	sender      norm.SenderStats // of the last one
	fleet       *fleet
}

// run has the sender send, the injector speak from half a second on, or from when all was sent, and waits for the receivers.
func (c campaign) run(t *testing.T, every time.Duration, say func(f *fleet) func(n int) message) (sum outcome) {
	t.Helper()
	for c.seed = range *attackSeeds {
		o := c.once(t, every, say)
		o.took += sum.took
		o.nacks += sum.nacks
		o.disbelieved += sum.disbelieved
		sum = o
	}
	return sum
}

func (c campaign) once(t *testing.T, every time.Duration, say func(f *fleet) func(n int) message) outcome {
	t.Helper()
	f := newFleet(t, c)
	if _, _, err := f.s.Send(norm.Object{Kind: norm.File, Size: fleetObject, Pinned: true}, nil); err != nil {
		t.Fatal(err)
	}
	begin := 500 * time.Millisecond
	if c.late {
		begin = 8400 * time.Millisecond // what 2 MB and its headers take at 2 Mbit/s
	}
	f.Run(begin)
	if say != nil {
		f.in.host.Do(func(now time.Time) { f.in.say, f.in.every, f.in.next = say(f), every, now })
	}
	o := outcome{took: forever, fleet: f}
	if f.RunUntil(forever, f.done) {
		o.took = f.Elapsed()
	}
	for _, r := range f.r {
		st := r.Core.Stats()
		o.nacks += st.NacksSent
		o.disbelieved += st.Drops.Disbelieved
	}
	o.sender = f.s.Core.Stats()
	return o
}

// undisturbed holds the outcomes of campaigns that nobody attacks, by their setting.
var undisturbed = map[campaign]outcome{}

// alone runs a campaign that nobody attacks.
func (c campaign) alone(t *testing.T) outcome {
	c.spoofed, c.late = false, false
	o, ok := undisturbed[c]
	if !ok {
		o = c.run(t, 0, nil)
		undisturbed[c] = o
	}
	return o
}

// ratio returns how many times longer o took than the other.
func (o outcome) ratio(alone outcome) float64 { return o.took.Seconds() / alone.took.Seconds() }

// An assault is a forged message that is repeated as long as the campaign goes on.
type assault struct {
	setting campaign
	every   time.Duration
	say     func(f *fleet) func(n int) message
	harm    float64 // without defence the campaign takes at least so many times as long
	most    float64 // with it at most so many times
}

// prove runs a campaign alone, attacked without defence, and attacked with it.
func (a assault) prove(t *testing.T) (open, defended outcome) {
	t.Helper()
	c := a.setting
	c.doubt = true
	alone := c.alone(t)
	defended = c.run(t, a.every, a.say)
	c.doubt = false
	open = c.run(t, a.every, a.say)
	t.Logf("%v alone; attacked %.2f times as long without defence, %.2f times with; NACKs %d, %d, %d; %d disbelieved",
		alone.took, open.ratio(alone), defended.ratio(alone), alone.nacks, open.nacks, defended.nacks, defended.disbelieved)
	if alone.took >= forever*time.Duration(*attackSeeds) {
		t.Fatal("nobody is attacked, and it does not end")
	}
	if got := open.ratio(alone); got < a.harm {
		t.Errorf("without defence it takes %.2f times as long, want at least %.2f: the test proves nothing", got, a.harm)
	}
	if got := defended.ratio(alone); got > a.most {
		t.Errorf("with defence it takes %.2f times as long, want at most %.2f", got, a.most)
	}
	return open, defended
}

// both proves it from the injector's own address, and from that of the sender.
func (a assault) both(t *testing.T) {
	for name, spoofed := range map[string]bool{"own address": false, "sender's address": true} {
		t.Run(name, func(t *testing.T) {
			a := a
			a.setting.spoofed = spoofed
			a.prove(t)
		})
	}
}

// asks proves it by the number of NORM_NACKs, which have receivers speak at the attacker's will.
func (a assault) asks(t *testing.T) {
	t.Helper()
	open, defended := a.prove(t)
	c := a.setting
	c.doubt = true
	alone := c.alone(t).nacks
	if 10*open.nacks < 11*alone || 5*defended.nacks > 6*alone {
		t.Errorf("%d NORM_NACKs alone, %d without defence, %d with it: want a tenth more without, and at most a fifth more with it", alone, open.nacks, defended.nacks)
	}
}

func position(object norm.TransportID, block, symbol uint32) wire.Position {
	p, err := wire.NewPosition(wire.RS8, 0, object, wire.PayloadID{Block: block, Symbol: symbol})
	if err != nil {
		panic(err)
	}
	return p
}

// TestAttackEOT: the sender is said to have ended. One datagram is enough for who believes it (RFC 5740, Section 7).
func TestAttackEOT(t *testing.T) {
	assault{every: 200 * time.Millisecond, harm: 3, most: 1.1, say: func(f *fleet) func(int) message {
		return func(int) message {
			h, sh := f.from()
			return &wire.EOT{Header: h, SenderHeader: sh}
		}
	}}.both(t)
}

// TestAttackSquelch: nothing is repaired any more, it is said when all was sent once.
func TestAttackSquelch(t *testing.T) {
	assault{setting: campaign{late: true}, every: 50 * time.Millisecond, harm: 1, most: 1.5, say: func(f *fleet) func(int) message {
		return func(int) message {
			h, sh := f.from()
			return &wire.Squelch{Header: h, SenderHeader: sh, Position: position(1, 0, 0)}
		}
	}}.both(t)
}

// TestAttackFlush: the sender is said to be behind what it has not sent.
func TestAttackFlush(t *testing.T) {
	a := assault{every: 50 * time.Millisecond, most: 1.1, say: func(f *fleet) func(int) message {
		return func(int) message {
			h, sh := f.from()
			return &wire.Flush{Header: h, SenderHeader: sh, Position: position(0, 62, 15)}
		}
	}}
	a.setting.spoofed = true
	a.asks(t)
}

// TestAttackInstance: the sender is said to have begun anew.
func TestAttackInstance(t *testing.T) {
	assault{every: 20 * time.Millisecond, harm: 3, most: 1.1, say: func(f *fleet) func(int) message {
		return func(n int) message {
			h, sh := f.from()
			sh.Instance = 9
			return &wire.CC{Header: h, SenderHeader: sh, CCSequence: wire.CCSequence(n), SendTime: wire.MakeTimestamp(f.Now())}
		}
	}}.both(t)
}

// advertise has the injector advertise something else than the sender does.
func advertise(change func(sh *wire.SenderHeader)) func(f *fleet) func(int) message {
	return func(f *fleet) func(int) message {
		return func(n int) message {
			h, sh := f.from()
			change(&sh)
			return &wire.CC{Header: h, SenderHeader: sh, CCSequence: wire.CCSequence(n), SendTime: wire.MakeTimestamp(f.Now())}
		}
	}
}

// TestAttackGRTTInflation: all backoffs are to last for minutes.
func TestAttackGRTTInflation(t *testing.T) {
	assault{every: 20 * time.Millisecond, harm: 3, most: 1.3, say: advertise(func(sh *wire.SenderHeader) { sh.GRTT = 255 })}.both(t)
}

// TestAttackBackoffInflation: likewise, by K_sender.
func TestAttackBackoffInflation(t *testing.T) {
	assault{setting: campaign{far: true}, every: 20 * time.Millisecond, harm: 1.2, most: 1.4, say: advertise(func(sh *wire.SenderHeader) { sh.Backoff = 15 })}.both(t)
}

// TestAttackGroupSizeInflation: all backoffs are to end late in the time that K_sender and GRTT give, which is hardly later.
func TestAttackGroupSizeInflation(t *testing.T) {
	assault{setting: campaign{far: true}, every: 20 * time.Millisecond, most: 1.4, say: advertise(func(sh *wire.SenderHeader) { sh.GroupSize = 0xff >> 4 })}.both(t)
}

// TestAttackImplosion: all are to ask at once, each for itself.
func TestAttackImplosion(t *testing.T) {
	a := assault{setting: campaign{far: true}, every: time.Millisecond, most: 1.2,
		say: advertise(func(sh *wire.SenderHeader) { sh.GRTT, sh.Backoff, sh.GroupSize = 0, 0, 0 })}
	a.setting.spoofed = true
	a.asks(t)
}

// TestAttackRepairAdv: everything was asked for already, so that nobody asks.
func TestAttackRepairAdv(t *testing.T) {
	assault{every: 20 * time.Millisecond, harm: 1.1, most: 1.5, say: func(f *fleet) func(int) message {
		return func(int) message {
			h, sh := f.from()
			w := wire.NewRepairWriter(nil, 1000)
			w.Item(wire.RepairObject, position(0, 0, 0))
			return &wire.RepairAdv{Header: h, SenderHeader: sh, Payload: w.Bytes()}
		}
	}}.both(t)
}

// TestAttackOverheardNack: likewise, as another receiver, which any node may be.
func TestAttackOverheardNack(t *testing.T) {
	assault{every: 20 * time.Millisecond, harm: 3, most: 2.5, say: func(f *fleet) func(int) message {
		return func(n int) message {
			w := wire.NewRepairWriter(nil, 1000)
			w.Item(wire.RepairObject, position(0, 0, 0))
			return &wire.Nack{Header: wire.Header{Source: norm.NodeID(1000 + n)}, FeedbackHeader: wire.FeedbackHeader{Server: 1, Instance: 1}, Payload: w.Bytes()}
		}
	}}.prove(t)
}

// A recording is a datagram as it was sent.
type recording []byte

func (r recording) AppendBinary(b []byte) ([]byte, error) { return append(b, r...), nil }

// TestAttackReplayedDatagrams: what the sender said at first is said again and again.
func TestAttackReplayedDatagrams(t *testing.T) {
	assault{every: 10 * time.Millisecond, most: 1.1, say: func(f *fleet) func(int) message {
		recorded := f.heard
		return func(n int) message { return recorded[n%len(recorded)] }
	}}.both(t)
}

// TestAttackReplayedRepairs: likewise, as repairs, which tell that the sender has gone back and will come to what is missing.
func TestAttackReplayedRepairs(t *testing.T) {
	assault{every: 10 * time.Millisecond, harm: 3, most: 2.2, say: func(f *fleet) func(int) message {
		var recorded []message
		for _, b := range f.heard {
			if m := new(wire.Data); m.Parse(b) == nil {
				m.Flags |= wire.FlagRepair
				recorded = append(recorded, m)
			}
		}
		return func(n int) message { return recorded[n%len(recorded)] }
	}}.both(t)
}

// TestAttackForeignObject: content of objects that the signed description does not know fills the receivers' windows.
func TestAttackForeignObject(t *testing.T) {
	a := assault{setting: campaign{spoofed: true}, every: 20 * time.Millisecond, most: 1.1, say: func(f *fleet) func(int) message {
		fti, err := wire.AppendFTI(nil, wire.RS8, wire.FTI{ObjectSize: 1 << 30, SegmentSize: 1000, MaxBlockLen: 32, MaxN: 64})
		if err != nil {
			f.t.Fatal(err)
		}
		return func(n int) message {
			h, sh := f.from()
			return &wire.Data{Header: h, SenderHeader: sh, Position: position(norm.TransportID(1000+n), 0, 0), Extensions: fti, Payload: make([]byte, 1000)}
		}
	}}
	open, defended := a.prove(t)
	for _, r := range open.fleet.r {
		if len(r.Objects) < 10 {
			t.Fatalf("%s was offered %d objects without defence: the test proves nothing", r.Host.Name, len(r.Objects))
		}
	}
	for _, r := range defended.fleet.r {
		if len(r.Objects) != 1 {
			t.Errorf("%s was offered %d objects, want the one that there is", r.Host.Name, len(r.Objects))
		}
	}
}

// TestAttackRTT: each receiver is told that it is far away, so that by the equation its path bears next to nothing.
func TestAttackRTT(t *testing.T) {
	assault{setting: campaign{controlled: true}, every: 50 * time.Millisecond, harm: 1, most: 1.3, say: func(f *fleet) func(int) message {
		return func(n int) message {
			h, sh := f.from()
			var list wire.CCNodeList
			for i := range fleetSize {
				list = wire.AppendCCNode(list, wire.CCNode{Node: norm.NodeID(i + 2), Flags: wire.CCFlagRTT, RTT: wire.EncodeRTT(10 * time.Second), Rate: wire.EncodeRate(1000)})
			}
			return &wire.CC{Header: h, SenderHeader: sh, CCSequence: wire.CCSequence(n), SendTime: wire.MakeTimestamp(f.Now()),
				Extensions: wire.AppendRate(nil, wire.EncodeRate(1000)), Nodes: list}
		}
	}}.both(t)
}

// TestAttackCCSequence: a probe from far ahead makes all that follow old ones, so that nobody answers them.
func TestAttackCCSequence(t *testing.T) {
	assault{setting: campaign{controlled: true}, every: 100 * time.Millisecond, harm: 1, most: 1.3, say: func(f *fleet) func(int) message {
		return func(n int) message {
			h, sh := f.from()
			return &wire.CC{Header: h, SenderHeader: sh, CCSequence: wire.CCSequence(20_000 + n), SendTime: wire.MakeTimestamp(f.Now().Add(-time.Minute)),
				Extensions: wire.AppendRate(nil, wire.EncodeRate(1000))}
		}
	}}.both(t)
}

// feedback returns the headers of feedback to the sender, whose probe left so long ago.
func (f *fleet) feedback(ago time.Duration) wire.FeedbackHeader {
	return wire.FeedbackHeader{Server: 1, Instance: 1, GRTTResponse: wire.MakeTimestamp(normtest.Epoch).Add(f.Elapsed() - ago)}
}

// TestAttackSlowReceiver: a receiver that nobody has bears a byte a second, and does not leave.
func TestAttackSlowReceiver(t *testing.T) {
	for name, ids := range map[string]int{"one": 1, "many": 1000} {
		t.Run(name, func(t *testing.T) {
			_, defended := assault{setting: campaign{controlled: true}, every: 50 * time.Millisecond, harm: 3, most: 1.7, say: func(f *fleet) func(int) message {
				return func(n int) message {
					return &wire.Ack{Header: wire.Header{Source: norm.NodeID(1000 + n%ids)}, FeedbackHeader: f.feedback(40 * time.Millisecond), AckType: wire.AckCC,
						Extensions: wire.AppendCC(nil, wire.ExtCC{Sequence: wire.CCSequence(n), Flags: wire.CCFlagRTT, RTT: wire.EncodeRTT(40 * time.Millisecond), Loss: 0xffff, Rate: wire.EncodeRate(1)})}
				}
			}}.prove(t)
			if defended.sender.Expelled == 0 {
				t.Error("nobody was expelled")
			}
		})
	}
}

// TestAttackFeedbackRTT: feedback claims to answer a probe of long ago, so that GRTT and all that goes by it grows.
func TestAttackFeedbackRTT(t *testing.T) {
	open, defended := assault{every: 100 * time.Millisecond, harm: 1.5, most: 1.5, say: func(f *fleet) func(int) message {
		return func(n int) message {
			return &wire.Ack{Header: wire.Header{Source: norm.NodeID(1000 + n)}, FeedbackHeader: f.feedback(min(f.Elapsed()-10*time.Millisecond, 9*time.Second)), AckType: wire.AckCC}
		}
	}}.prove(t)
	if open.sender.GRTT < 4*time.Second || defended.sender.GRTT > 600*time.Millisecond {
		t.Errorf("GRTT %v without defence, %v with: want more than 4 s, and MaxGRTT", open.sender.GRTT, defended.sender.GRTT)
	}
}

// TestAttackNackFlood: somebody asks for everything there is, all the time, by unicast and as a thousand nodes.
func TestAttackNackFlood(t *testing.T) {
	_, defended := assault{every: 10 * time.Millisecond, harm: 3, most: 2.5, say: func(f *fleet) func(int) message {
		f.in.to = f.s.Host.Addr
		w := wire.NewRepairWriter(nil, 1000)
		w.Item(wire.RepairObject, position(0, 0, 0))
		return func(n int) message {
			return &wire.Nack{Header: wire.Header{Source: norm.NodeID(1000 + n%1000)}, FeedbackHeader: wire.FeedbackHeader{Server: 1, Instance: 1}, Payload: w.Bytes()}
		}
	}}.prove(t)
	if defended.sender.NacksRefused == 0 {
		t.Error("none was refused")
	}
}

// TestAttackFeedbackFlood: a thousand NORM_ACK a second cost the sender a counter each beyond what one address may say.
func TestAttackFeedbackFlood(t *testing.T) {
	_, defended := assault{every: time.Millisecond, most: 1.1, say: func(f *fleet) func(int) message {
		f.in.to = f.s.Host.Addr
		return func(n int) message {
			return &wire.Ack{Header: wire.Header{Source: norm.NodeID(1000 + n)}, FeedbackHeader: f.feedback(40 * time.Millisecond), AckType: wire.AckCC}
		}
	}}.prove(t)
	said, read := uint64(defended.fleet.in.n), uint64(defended.fleet.in.n)-defended.sender.Drops.Refused
	if most := 2000 + uint64(200*defended.fleet.Elapsed().Seconds()); read > most || said < 3*most/2 {
		t.Errorf("%d of %d NORM_ACK were read, want at most %d", read, said, most)
	}
}

// TestAttackAckForOthers acknowledges for a node that has nothing. Without authentication the sender believes it, as
// docs/security.md says; with it it does not.
func TestAttackAckForOthers(t *testing.T) {
	for _, secure := range []bool{false, true} {
		v := attack(t, secure)
		var acknowledged []norm.NodeID
		v.OnEvent = func(_ *normtest.Host, e norm.Event) {
			if e.Kind == norm.NodeAcknowledged {
				acknowledged = append(acknowledged, e.Node)
			}
		}
		v.s.Host.Do(func(now time.Time) {
			if _, err := v.s.Core.SetWatermark(now, norm.Watermark{Nodes: []norm.NodeID{50}}); err != nil { // which is not there
				t.Fatal(err)
			}
		})
		last := position(7, 12, 6) // 100 segments of 100 bytes in blocks of 8
		payload, err := last.AppendItem(nil)
		if err != nil {
			t.Fatal(err)
		}
		forged, err := (&wire.Ack{Header: wire.Header{Source: 50}, FeedbackHeader: wire.FeedbackHeader{Server: 1, Instance: 1}, AckType: wire.AckFlush, Payload: payload}).AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 60 {
			v.attacker.say(forged)
			v.Run(50 * time.Millisecond)
		}
		if believed := len(acknowledged) > 0; believed == secure {
			t.Errorf("authenticated: %v, acknowledged: %v", secure, acknowledged)
		}
	}
}
