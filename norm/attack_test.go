package norm_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"fmt"
	"iter"
	"net/netip"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/auth"
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/normtest"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// A victim is a group of a sender and two receivers, and an attacker who hears all and sends what he likes.
type victim struct {
	*normtest.Net
	t        *testing.T
	s        *normtest.Sender
	r        [2]*normtest.Receiver
	attacker *attacker
	heard    [][]byte // all that was sent by others
	forged   []byte
	file     normtest.Memory
}

var groupKey = []byte("the secret that the members share")

// attack starts a group that sends an object of 10 kB, 2 s long, with or without authentication.
func attack(t *testing.T, secure bool) *victim {
	t.Helper()
	v := &victim{t: t, Net: normtest.New(1), attacker: &attacker{}, file: make(normtest.Memory, 10_000)}
	for i := range v.file {
		v.file[i] = byte(i * i >> 3)
	}
	var config *auth.Config
	if secure {
		config = &auth.Config{Key: groupKey}
	}
	link := normtest.Link{Delay: 10 * time.Millisecond}
	var err error
	v.s, err = v.AddSender("s", nil, normtest.Link{}, link, norm.SenderConfig{
		Node: 1, Instance: 1, Rate: 60e3, Burst: 360, GRTT: 50 * time.Millisecond, SegmentSize: 100, GroupSize: 2, FirstObject: 7, Auth: config,
		FEC: fec.Params{ID: fec.ReedSolomonGF8, MaxBlockLen: 8, MaxParity: 4},
	})
	for i := range v.r {
		if err != nil {
			t.Fatal(err)
		}
		v.r[i], err = v.AddReceiver(fmt.Sprint("r", i+1), nil, normtest.Link{}, link, norm.ReceiverConfig{Node: norm.NodeID(i + 2), Seed: uint64(i), Auth: config})
		v.r[i].Create = func(o norm.ReceivedObject) normtest.File { return make(normtest.Memory, o.Size) }
	}
	if err != nil {
		t.Fatal(err)
	}
	v.attacker.host = v.Add("attacker", nil, normtest.Link{}, link)
	v.attacker.host.Start(v.attacker)
	v.OnSend = func(p *normtest.Packet) {
		if p.From != v.attacker.host {
			v.heard = append(v.heard, bytes.Clone(p.B))
		}
	}
	v.send()
	return v
}

func (v *victim) send() {
	v.t.Helper()
	if _, _, err := v.s.Send(norm.Object{Kind: norm.File, Size: int64(len(v.file))}, v.file); err != nil {
		v.t.Fatal(err)
	}
}

// lose makes hosts lose the next NORM_DATA of a symbol.
func (v *victim) lose(block uint32, symbol uint32, at ...*normtest.Host) {
	v.Drop(&normtest.Rule{At: at, Count: 1, Match: func(p *normtest.Packet) bool {
		m, ok := p.Message().(*wire.Data)
		return ok && m.PayloadID(0) == wire.PayloadID{Block: block, Symbol: symbol}
	}})
}

// sent returns what the node has sent so far that is of type t.
func (v *victim) sent(t wire.Type, source norm.NodeID) (found [][]byte) {
	for _, b := range v.heard {
		if h, err := wire.Peek(b); err == nil && h.Type == t && h.Source == source {
			found = append(found, b)
		}
	}
	return found
}

// intact checks that both receivers got what was sent.
func (v *victim) intact() {
	v.t.Helper()
	v.Run(20 * time.Second)
	for _, r := range v.r {
		o := r.Object(1, 7)
		if o == nil || !o.Complete || !bytes.Equal(o.File.(normtest.Memory), v.file) {
			v.t.Errorf("%s has not got what was sent: %+v", r.Host.Name, o)
		}
	}
}

func (v *victim) count(kind norm.EventKind) (n int) {
	for _, e := range v.r[0].Log {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// An attacker sends what he is given.
type attacker struct {
	host   *normtest.Host
	outbox [][]byte
}

func (x *attacker) say(packets ...[]byte) {
	x.host.Do(func(time.Time) { x.outbox = append(x.outbox, packets...) })
}

func (x *attacker) Poll(_ time.Time, b []byte) ([]byte, netip.AddrPort, bool) {
	if len(x.outbox) == 0 {
		return b, netip.AddrPort{}, false
	}
	b = append(b, x.outbox[0]...)
	x.outbox = x.outbox[1:]
	return b, normtest.Group, true
}

func (*attacker) Handle(time.Time, norm.Datagram) {}
func (*attacker) Complete(time.Time, *norm.IO)    {}
func (*attacker) Advance(time.Time)               {}
func (*attacker) Requests() iter.Seq[*norm.IO]    { return func(func(*norm.IO) bool) {} }
func (*attacker) Events() iter.Seq[norm.Event]    { return func(func(norm.Event) bool) {} }
func (*attacker) Deadline() time.Time             { return time.Time{} }

// TestAttackForged lets a stranger say one thing in the sender's or a receiver's name, in the midst of the object. Without
// authentication each does its harm, or the test would prove nothing; with it none does, and each is counted. N-7-02
func TestAttackForged(t *testing.T) {
	header := wire.Header{Source: 1, Sequence: 30}
	sender := wire.SenderHeader{Instance: 1, GRTT: wire.EncodeRTT(50 * time.Millisecond), Backoff: 4, GroupSize: 0}
	position := func(object norm.TransportID, block uint32) wire.Position {
		p, err := wire.NewPosition(wire.RS8, 0, object, wire.PayloadID{Block: block})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	slow, other := sender, sender
	slow.GRTT, other.Instance = 255, 9
	huge, err := wire.AppendFTI(nil, wire.RS8, wire.FTI{ObjectSize: 1 << 30, SegmentSize: 100, MaxBlockLen: 8, MaxN: 12})
	if err != nil {
		t.Fatal(err)
	}
	deafens := func(v *victim) bool { // that the sender is gone is noticed after 40 inactivity periods of 2 s
		v.s.Host.Detached = true
		v.attacker.say(v.forged)
		v.Run(2 * time.Minute)
		return v.count(norm.SenderLost) == 0
	}
	for _, tt := range []struct {
		name    string
		message wire.Message
		harmed  func(v *victim) bool
	}{
		// N-7-11: each kind of damage that a stranger could do.
		{"DATA", &wire.Data{Header: header, SenderHeader: sender, Position: position(7, 10), Payload: bytes.Repeat([]byte("x"), 100)},
			func(v *victim) bool { // F-11-02, R-9.2-01: the corrupted packet is dropped on arrival
				v.Run(10 * time.Second)
				o := v.r[0].Object(1, 7)
				return o.Complete && !bytes.Equal(o.File.(normtest.Memory), v.file)
			}},
		{"SQUELCH", &wire.Squelch{Header: header, SenderHeader: sender, Position: position(9, 0)},
			func(v *victim) bool { return v.count(norm.ObjectAborted) > 0 }},
		{"EOT", &wire.EOT{Header: header, SenderHeader: sender}, // N-7-15
			func(v *victim) bool { return v.count(norm.SenderEnded) > 0 }},
		{"FLUSH", &wire.Flush{Header: header, SenderHeader: sender, Position: position(7, 12)},
			func(v *victim) bool { // the sender is silent, and was asked for what it has not sent
				v.s.Host.Detached = true
				v.attacker.say(v.forged)
				v.Run(5 * time.Second)
				return v.r[0].Core.Stats().NacksSent > 0
			}},
		{"REPAIR_ADV", &wire.RepairAdv{Header: header, SenderHeader: slow},
			deafens},
		{"grtt", &wire.CC{Header: header, SenderHeader: slow, CCSequence: 500, SendTime: wire.MakeTimestamp(normtest.Epoch.Add(time.Hour))},
			deafens},
		{"instance_id", &wire.CC{Header: header, SenderHeader: other, SendTime: wire.MakeTimestamp(normtest.Epoch.Add(time.Hour))},
			func(v *victim) bool { return v.count(norm.SenderRestarted) > 0 }},
		{"EXT_FTI", &wire.Data{Header: header, SenderHeader: sender, Position: position(8, 0), Extensions: huge, Payload: make([]byte, 100)}, // R-9.3-01
			func(v *victim) bool { return v.count(norm.ObjectOffered) > 1 }},
		{"NACK", &wire.Nack{Header: wire.Header{Source: 77}, FeedbackHeader: wire.FeedbackHeader{Server: 1, Instance: 1}, Payload: blockRequest(t, position(7, 1))},
			func(v *victim) bool { v.Run(5 * time.Second); return v.s.Core.Stats().Repairs > 0 }},
		{"ACK", &wire.Ack{Header: wire.Header{Source: 77}, FeedbackHeader: wire.FeedbackHeader{Server: 1, Instance: 1}, AckType: wire.AckCC,
			Extensions: wire.AppendCC(nil, wire.ExtCC{Rate: 1})}, // T-6-01
			func(v *victim) bool {
				return v.s.Core.Stats().Acks > uint64(len(v.sent(wire.TypeAck, 2))+len(v.sent(wire.TypeAck, 3)))
			}},
		{"NACK of our own id", &wire.Nack{Header: wire.Header{Source: 2, Sequence: 999}, FeedbackHeader: wire.FeedbackHeader{Server: 1, Instance: 1}},
			func(v *victim) bool { return v.count(norm.NodeCollision) > 0 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			forged, err := tt.message.AppendBinary(nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, secure := range []bool{false, true} {
				v := attack(t, secure)
				v.forged = forged
				v.Run(time.Second)
				before := v.r[0].Core.Stats().Drops.Unauthentic
				v.attacker.say(forged)
				v.Run(30 * time.Millisecond)
				counted := v.r[0].Core.Stats().Drops.Unauthentic - before
				harmed := tt.harmed(v)
				if harmed == secure {
					t.Errorf("authenticated: %v, harmed: %v", secure, harmed)
				}
				if secure {
					if counted != 1 {
						t.Errorf("%d packets were counted as unauthentic, want the one", counted)
					}
					if !v.s.Host.Detached {
						v.intact()
					}
				}
			}
		})
	}
}

// blockRequest returns the nack_payload that asks for a block.
func blockRequest(t *testing.T, p wire.Position) []byte {
	t.Helper()
	w := wire.NewRepairWriter(nil, 100)
	if !w.Item(wire.RepairBlock, p) {
		t.Fatal("no room")
	}
	return w.Bytes()
}

// TestAttackStripped takes EXT_AUTH from genuine packets: everybody recognises that it is missing. A-3.4-02
func TestAttackStripped(t *testing.T) {
	v := attack(t, true)
	v.Run(time.Second)
	unauthentic := v.r[0].Core.Stats().Drops.Unauthentic
	n := 0
	for _, b := range v.sent(wire.TypeData, 1) {
		var m wire.Data
		if err := m.Parse(b); err != nil {
			t.Fatal(err)
		}
		m.Extensions, _ = wire.AppendFTI(nil, wire.RS8, wire.FTI{ObjectSize: 10_000, SegmentSize: 100, MaxBlockLen: 8, MaxN: 12})
		m.Object += 2
		stripped, err := m.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		v.attacker.say(stripped)
		n++
	}
	v.Run(50 * time.Millisecond)
	if got := v.r[0].Core.Stats().Drops.Unauthentic - unauthentic; got != uint64(n) || n == 0 {
		t.Errorf("%d of %d stripped packets were dropped", got, n)
	}
	if v.count(norm.ObjectOffered) != 1 {
		t.Error("an object was offered that nobody sent")
	}
	v.intact()
}

// TestAttackReplay sends again what the sender has said so far: a receiver does nothing but count. N-7-02
func TestAttackReplay(t *testing.T) {
	for _, secure := range []bool{false, true} {
		v := attack(t, secure)
		v.Run(time.Second)
		before, recorded := v.r[0].Core.Stats(), v.sent(wire.TypeData, 1)
		recorded = recorded[:len(recorded)-10] // those that have arrived
		v.attacker.say(recorded...)
		v.Run(50 * time.Millisecond)
		after := v.r[0].Core.Stats()
		if dropped := after.Drops.Unauthentic - before.Drops.Unauthentic; secure && dropped != uint64(len(recorded)) {
			t.Errorf("%d of %d replayed packets were dropped", dropped, len(recorded))
		}
		if looked := after.Duplicates > before.Duplicates; looked == secure {
			t.Errorf("authenticated: %v, replayed data were looked at: %v", secure, looked)
		}
		v.intact()
	}
}

// TestAttackReplayAcrossSessions plays a session to those who take part in the next one of the same sender, with the same
// key: "Consideration MUST also be given to the potential for replay-attacks that would transplant authenticated packets
// from one NORM session to another" (RFC 5740, Section 7). N-7-04
func TestAttackReplayAcrossSessions(t *testing.T) {
	for _, secure := range []bool{false, true} {
		v := attack(t, secure)
		v.intact()
		recorded := v.heard
		next := v.s.Config
		next.Instance, next.FirstObject = 2, 20
		v.s.Host.Kill()
		for _, r := range v.r { // which know nothing of the session before, nor of its sequence numbers
			if err := r.Restart(r.Config); err != nil {
				t.Fatal(err)
			}
		}
		if err := v.s.Restart(next); err != nil {
			t.Fatal(err)
		}
		v.send()
		v.Run(time.Second)
		restarts := v.count(norm.SenderRestarted)
		v.attacker.say(recorded...)
		v.Run(20 * time.Second)
		if misled := v.count(norm.SenderRestarted) > restarts; misled == secure {
			t.Errorf("authenticated: %v, the receiver takes the session before for the present one: %v", secure, misled)
		}
		if o := v.r[0].Object(1, 20); secure && (o == nil || !o.Complete) {
			t.Error("the object of the second session did not arrive")
		}
	}
}

// TestAttackReplayedNack sends a genuine NORM_NACK again when it has been answered. The sender would repair once more, and
// the other receiver take it for one that asks in its stead. N-7-05, N-7-07, B-5-02
func TestAttackReplayedNack(t *testing.T) {
	for _, secure := range []bool{false, true} {
		v := attack(t, secure)
		v.lose(3, 2, v.r[1].Host)
		v.intact()
		asked := v.sent(wire.TypeNack, 3)
		if len(asked) != 1 {
			t.Fatalf("%d NACKs for one loss", len(asked))
		}
		repairs, heard := v.s.Core.Stats().Repairs, v.r[0].Core.Stats().NacksHeard
		if repairs == 0 || heard != 1 {
			t.Fatalf("%d repairs, %d NACKs overheard: the test proves nothing", repairs, heard)
		}
		v.attacker.say(asked[0])
		v.Run(5 * time.Second)
		if more := v.s.Core.Stats().Repairs > repairs; more == secure {
			t.Errorf("authenticated: %v, repaired again: %v", secure, more)
		}
		if taken := v.r[0].Core.Stats().NacksHeard > heard; taken == secure {
			t.Errorf("authenticated: %v, taken for another request by the other receiver: %v", secure, taken)
		}
	}
}

// TestAttackReplayedAck sends a genuine NORM_ACK(CC) again, whose old timestamp would make a long round trip. N-7-05
func TestAttackReplayedAck(t *testing.T) {
	for _, secure := range []bool{false, true} {
		v := attack(t, secure)
		v.intact()
		acks, recorded := v.s.Core.Stats().Acks, v.sent(wire.TypeAck, 2)
		if len(recorded) == 0 {
			t.Fatal("no NORM_ACK was sent: the test proves nothing")
		}
		v.attacker.say(recorded...)
		v.Run(50 * time.Millisecond)
		if taken := v.s.Core.Stats().Acks > acks; taken == secure {
			t.Errorf("authenticated: %v, counted again: %v", secure, taken)
		}
	}
}

// TestAttackFlood: a thousand forged packets between two genuine ones cost a counter each, and the object arrives.
func TestAttackFlood(t *testing.T) {
	v := attack(t, true)
	v.Run(500 * time.Millisecond)
	forged := bytes.Clone(v.sent(wire.TypeData, 1)[3])
	forged[len(forged)-1] ^= 1
	before := v.r[0].Core.Stats()
	for range 20 {
		for range 1000 {
			forged[len(forged)-101-17]++ // its sequence number, as new
			v.attacker.say(bytes.Clone(forged))
		}
		v.Run(50 * time.Millisecond)
	}
	after := v.r[0].Core.Stats()
	if got := after.Drops.Unauthentic - before.Drops.Unauthentic; got != 20_000 {
		t.Errorf("%d of 20,000 forged packets were dropped", got)
	}
	if after.Drops.Malformed != before.Drops.Malformed || after.Drops.Refused != before.Drops.Refused {
		t.Errorf("forged packets were looked at: %+v", after.Drops)
	}
	v.intact()
}

// TestAuthenticatedGroups completes under losses, reordering and duplicates, with each scheme, and refuses nothing that is
// genuine but what overtook the first probe or came twice. N-7-08
func TestAuthenticatedGroups(t *testing.T) {
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]auth.Config{
		"MAC": {Key: groupKey}, "ECDSA": {Signer: private}, "both": {Key: groupKey, Signer: private},
	} {
		t.Run(name, func(t *testing.T) {
			net := normtest.New(5)
			link := normtest.Link{Delay: 10 * time.Millisecond, Loss: normtest.Random(0.1), Jitter: 20 * time.Millisecond, Duplicate: 0.05}
			s, err := net.AddSender("s", nil, normtest.Link{}, link, norm.SenderConfig{
				Node: 1, Rate: 200e3, GRTT: 50 * time.Millisecond, SegmentSize: 100, GroupSize: 10, Auth: &config,
			})
			if err != nil {
				t.Fatal(err)
			}
			for i := range 5 {
				public := config
				if public.Signer != nil {
					public.Signer, public.Public = nil, &private.PublicKey
				}
				if _, err := net.AddReceiver(fmt.Sprint("r", i), nil, normtest.Link{}, link,
					norm.ReceiverConfig{Node: norm.NodeID(i + 2), Seed: uint64(i), Join: norm.JoinAll, Auth: &public}); err != nil {
					t.Fatal(err)
				}
			}
			done := 0
			net.OnEvent = func(_ *normtest.Host, e norm.Event) {
				if e.Kind == norm.ObjectComplete {
					done++
				}
			}
			if _, _, err := s.Send(norm.Object{Kind: norm.File, Size: 20_000}, nil); err != nil {
				t.Fatal(err)
			}
			if !net.RunUntil(time.Minute, func() bool { return done == 5 }) {
				t.Fatalf("%d of 5 receivers have the object", done)
			}
			if st := s.Core.Stats(); st.Repairs == 0 {
				t.Error("no repairs: the test proves nothing")
			}
		})
	}
}

// TestWithAndWithout: who authenticates hears nobody who does not. Who does not hears all, for "All receivers MUST recognize
// EXT_AUTH but might not be able to parse its content [...]. In that case, the [...] extension is ignored." A-3.4-03
func TestWithAndWithout(t *testing.T) {
	for _, tt := range []struct{ sender, receiver, arrives bool }{{true, false, true}, {false, true, false}, {false, false, true}, {true, true, true}} {
		net := normtest.New(1)
		config := func(on bool) *auth.Config {
			if on {
				return &auth.Config{Key: groupKey}
			}
			return nil
		}
		s, err := net.AddSender("s", nil, normtest.Link{}, normtest.Link{}, norm.SenderConfig{Node: 1, Auth: config(tt.sender)})
		if err != nil {
			t.Fatal(err)
		}
		r, err := net.AddReceiver("r", nil, normtest.Link{}, normtest.Link{}, norm.ReceiverConfig{Node: 2, Auth: config(tt.receiver)})
		if err != nil {
			t.Fatal(err)
		}
		s.Send(norm.Object{Kind: norm.File, Size: 20_000}, nil)
		net.Run(10 * time.Second)
		if got := r.Completed() == 1; got != tt.arrives {
			t.Errorf("%+v: arrived: %v", tt, got)
		}
		if got := len(r.Log) > 0; got != tt.arrives {
			t.Errorf("%+v: the receiver tells %v", tt, r.Log)
		}
	}
}

// TestAuthenticatedDatagramFits: what Auth adds counts against the path MTU, and the room that Poll asks for is enough.
func TestAuthenticatedDatagramFits(t *testing.T) { // N-4.1-23
	now := time.Unix(1000, 0)
	s, err := norm.NewSender(norm.SenderConfig{Node: 1, Group: normtest.Group, Rate: 1e9, Burst: 1 << 20, Auth: &auth.Config{Key: groupKey}}, now)
	if err != nil {
		t.Fatal(err)
	}
	s.Enqueue(now, norm.Object{Size: 1 << 20})
	buf := make([]byte, 0, 1400+40)
	longest, failed := 0, 0
	step := func() {
		now = now.Add(time.Millisecond)
		for io := range s.Requests() {
			s.Complete(now, io)
		}
		b, _, ok := s.Poll(now, buf)
		if ok && cap(b) != cap(buf) || !ok && s.Stats().Data < 500 {
			failed++
		}
		longest = max(longest, len(b))
	}
	for range 20 {
		step()
	}
	if n := testing.AllocsPerRun(400, step); n != 0 || failed > 0 {
		t.Errorf("%v allocations for a segment, %d were too long", n, failed)
	}
	if want := 16 + 4 + 12 + 24 + 1376; longest > 1440 || longest < want {
		t.Errorf("the longest datagram has %d bytes, want %d to 1440", longest, want)
	}
}
