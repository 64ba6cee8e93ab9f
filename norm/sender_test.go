package norm

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/wire"
)

var (
	testGroup    = netip.MustParseAddrPort("239.1.2.3:6003")
	testServer   = netip.MustParseAddrPort("10.0.0.1:40000")
	testReceiver = netip.MustParseAddrPort("10.0.0.2:6003")
)

// A rig drives a Sender in virtual time, with objects in memory, and notes what it sends.
type rig struct {
	*Sender
	t       *testing.T
	now     time.Time
	start   time.Time
	objects map[Handle][]byte
	hold    bool  // reads are not performed
	readErr error // what reads fail with
	held    []*IO
	sent    []sentMessage
	events  []Event
}

// A sentMessage is a message and when it was sent, since the start.
type sentMessage struct {
	at  time.Duration
	msg wire.Message
	len int
}

func (m sentMessage) header() (wire.Header, wire.SenderHeader) {
	b, _ := m.msg.AppendBinary(nil)
	h, sh, _ := wire.PeekSender(b)
	return h, sh
}

// newRig starts a sender of node 1, instance 7, with small blocks: 4 source and 4 parity symbols of 100 bytes.
func newRig(t *testing.T, change func(*SenderConfig)) *rig {
	cfg := SenderConfig{
		Node: 1, Instance: 7, Group: testGroup, SegmentSize: 100, Rate: 1e6, GRTT: 100 * time.Millisecond,
		FEC: fec.Params{ID: fec.ReedSolomonGF8, MaxBlockLen: 4, MaxParity: 4},
	}
	if change != nil {
		change(&cfg)
	}
	start := time.Unix(1_000_000, 0)
	s, err := NewSender(cfg, start)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{Sender: s, t: t, now: start, start: start, objects: map[Handle][]byte{}}
}

// content returns n bytes that differ from symbol to symbol.
func content(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i/100)
	}
	return b
}

// enqueue gives the sender an object of size bytes.
func (r *rig) enqueue(size int, change func(*Object)) Handle {
	r.t.Helper()
	o := Object{Size: int64(size)}
	if change != nil {
		change(&o)
	}
	h, _, err := r.Enqueue(r.now, o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.objects[h] = content(size)
	r.drain()
	return h
}

// drain does what the calling contract asks for after each call.
func (r *rig) drain() {
	for {
		for io := range r.Requests() {
			if r.hold {
				r.held = append(r.held, io)
				continue
			}
			r.perform(io)
		}
		b, to, ok := r.Poll(r.now, nil)
		for e := range r.Events() {
			r.events = append(r.events, e)
		}
		if !ok {
			break
		}
		if to != r.cfg.Group {
			r.t.Fatalf("sent to %v", to)
		}
		msg, err := new(wire.Decoder).Parse(b)
		if err != nil {
			r.t.Fatalf("sent %x: %v", b, err)
		}
		r.sent = append(r.sent, sentMessage{r.now.Sub(r.start), msg, len(b)})
	}
	for range r.Requests() { // whatever Poll asked for is there again
		r.t.Fatal("requests left behind")
	}
}

func (r *rig) perform(op *IO) {
	op.Err = r.readErr
	if op.Err == nil {
		if _, err := bytes.NewReader(r.objects[op.Object]).ReadAt(op.B, op.Offset); err != nil && err != io.EOF {
			op.Err = err
		}
	}
	r.Complete(r.now, op)
}

// run lets d pass, waking the sender at each of its deadlines.
func (r *rig) run(d time.Duration) {
	r.t.Helper()
	end := r.now.Add(d)
	r.drain()
	for spins := 0; ; spins++ {
		next := r.Deadline()
		if next.IsZero() || next.After(end) {
			break
		}
		if next.After(r.now) {
			r.now, spins = next, 0
		} else if spins > 1000 {
			r.t.Fatalf("deadline %v does not move on", next.Sub(r.start))
		}
		r.Advance(r.now)
		r.drain()
	}
	r.now = end
	r.Advance(r.now)
	r.drain()
}

// take returns what was sent since the last take.
func (r *rig) take() []sentMessage {
	sent := r.sent
	r.sent = nil
	return sent
}

// idle runs until the flush series is over, and forgets what was sent.
func (r *rig) idle() {
	r.t.Helper()
	for range 1000 {
		r.run(time.Second)
		if len(r.events) > 0 && r.events[len(r.events)-1].Kind == Flushed {
			r.take()
			return
		}
	}
	r.t.Fatal("the flush series does not end")
}

// of returns the messages of one type.
func of[M wire.Message](sent []sentMessage) (msgs []M) {
	for _, s := range sent {
		if m, ok := s.msg.(M); ok {
			msgs = append(msgs, m)
		}
	}
	return msgs
}

// times returns when the messages of one type were sent.
func times[M wire.Message](sent []sentMessage) (at []time.Duration) {
	for _, s := range sent {
		if _, ok := s.msg.(M); ok {
			at = append(at, s.at)
		}
	}
	return at
}

// script writes the content that was sent in short: "i7" is the NORM_INFO of object 7, "7/0/1" symbol 1 of its block 0,
// with "r" for NORM_FLAG_REPAIR and "x" for NORM_FLAG_EXPLICIT behind it.
func script(sent []sentMessage) string {
	var words []string
	for _, s := range sent {
		var word string
		var flags wire.Flags
		switch m := s.msg.(type) {
		case *wire.Info:
			word, flags = fmt.Sprintf("i%d", m.Object), m.Flags
		case *wire.Data:
			id := m.PayloadID(0)
			word, flags = fmt.Sprintf("%d/%d/%d", m.Object, id.Block, id.Symbol), m.Flags
		default:
			continue
		}
		if flags&wire.FlagRepair != 0 {
			word += "r"
		}
		if flags&wire.FlagExplicit != 0 {
			word += "x"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func (r *rig) wantScript(want string) {
	r.t.Helper()
	if got := script(r.take()); got != want {
		r.t.Errorf("at %v: sent\n\t%s\nwant\n\t%s", r.now.Sub(r.start), got, want)
	}
}

func (r *rig) wantEvents(want ...Event) {
	r.t.Helper()
	if len(r.events) != len(want) {
		r.t.Fatalf("events %v, want %v", r.events, want)
	}
	for i, e := range r.events {
		if e != want[i] {
			r.t.Errorf("event %d: %+v, want %+v", i, e, want[i])
		}
	}
	r.events = nil
}

func TestSenderSendsInOrder(t *testing.T) {
	r := newRig(t, nil)
	// T = 9 symbols in N = 3 blocks of 3, by RFC 5052, Section 9.1. N-5.1.1-02 F-9-01
	a := r.enqueue(850, func(o *Object) { o.Info = []byte("a.bin"); o.Kind = File })
	b := r.enqueue(150, nil)
	r.run(time.Second)
	sent := r.take()

	if _, ok := sent[0].msg.(*wire.CC); !ok || sent[0].at != 0 {
		t.Errorf("the first message is %v at %v, want CC at once", sent[0].msg, sent[0].at) // N-5.1-03
	}
	// Nobody has answered, and all is sent (N-5.1-06): N-5-01 N-4.2.1-36 N-4.2.2-03 N-2-04 N-2.1-01 N-1.2-02 F-6-01
	if got, want := script(sent), "i0 0/0/0 0/0/1 0/0/2 0/1/0 0/1/1 0/1/2 0/2/0 0/2/1 0/2/2 1/0/0 1/0/1"; got != want {
		t.Errorf("sent %s\nwant %s", got, want)
	}
	info := of[*wire.Info](sent)[0]
	if string(info.Payload) != "a.bin" || info.Flags != wire.FlagInfo|wire.FlagFile {
		t.Errorf("%v", info)
	}
	if fti, ok := info.Extensions.FTI(info.FECID); !ok || fti.ObjectSize != 850 {
		t.Errorf("%v: FTI %+v", info, fti) // N-4.2.1-01
	}
	var got []byte
	for _, m := range of[*wire.Data](sent) {
		flags, size := wire.FlagInfo|wire.FlagFile, uint64(850)
		if m.Object == 1 {
			flags, size = 0, 150
		} else {
			got = append(got, m.Payload...)
		}
		if m.Flags != flags {
			t.Errorf("%v: flags %v, want %v", m, m.Flags, flags) // N-4.2.1-28
		}
		// Whole segments, and what is left in the last of each object. N-4.2.1-48 N-4.2.1-52 N-4.2.1-07
		if last := m.Object == 0 && m.PayloadID(0) == (wire.PayloadID{Block: 2, Symbol: 2}) || m.PayloadID(0).Symbol == 1 && m.Object == 1; len(m.Payload) != 100 != last {
			t.Errorf("%v: payload of %d bytes", m, len(m.Payload))
		}
		if m.FECID != info.FECID {
			t.Errorf("%v: another fec_id", m) // N-6-03
		}
		fti, ok := m.Extensions.FTI(m.FECID)
		if want := (wire.FTI{ObjectSize: size, SegmentSize: 100, MaxBlockLen: 4, MaxN: 8}); !ok || fti != want {
			t.Errorf("%v: FTI %+v, want %+v", m, fti, want) // N-4.2.1-01 N-4.2.1-11 N-4.2.1-12
		}
	}
	if !bytes.Equal(got, content(850)) {
		t.Errorf("the symbols of object 0 in order are not its content") // N-4.2.1-47
	}
	for i, s := range sent {
		h, sh := s.header()
		if int(h.Sequence) != i || h.Source != 1 {
			t.Errorf("message %d has sequence %d, source %d", i, h.Sequence, h.Source)
		}
		if want := (wire.SenderHeader{Instance: 7, GRTT: wire.EncodeRTT(100 * time.Millisecond), Backoff: 4, GroupSize: 3}); sh != want {
			t.Errorf("message %d: %+v, want %+v", i, sh, want) // N-4.2.1-18 N-4.2.1-22 N-5.5.4-02
		}
	}
	r.wantEvents(Event{Kind: ObjectSent, Object: a}, Event{Kind: ObjectSent, Object: b})
}

// N-4.1-08 N-4.1-09: messages of all types, repairs among them, count up in one sequence, which wraps.
func TestOneSequence(t *testing.T) {
	r := newRig(t, func(c *SenderConfig) { c.MaxObjects = 2; c.AutoParity = 1; c.FlowControl = -1 })
	r.Sender.sequence = 0xffe0
	for range 3 {
		r.enqueue(850, func(o *Object) { o.Info = []byte("info") })
		r.run(100 * time.Millisecond)
	}
	r.nackTo(testServer, "o0 1/0/4 i2")
	r.run(10 * time.Second)
	r.End(r.now)
	r.run(10 * time.Second)
	kinds := map[string]int{}
	for i, s := range r.take() {
		h, _ := s.header()
		if h.Sequence != 0xffe0+wire.Sequence(i) {
			t.Fatalf("message %d, %v, has sequence %#x", i, s.msg, h.Sequence)
		}
		kind := fmt.Sprintf("%T", s.msg)
		if m, ok := s.msg.(*wire.Data); ok && m.Flags&wire.FlagRepair != 0 {
			kind = "repair"
		}
		kinds[kind]++
	}
	all := []string{"*wire.Info", "*wire.Data", "repair", "*wire.CC", "*wire.Flush", "*wire.Squelch", "*wire.RepairAdv", "*wire.EOT"}
	for _, kind := range all {
		if kinds[kind] == 0 {
			t.Errorf("no %s was sent: the test proves nothing of it; %v", kind, kinds)
		}
	}
	if len(kinds) != len(all) { // N-4.4.1-02
		t.Errorf("sent %v", kinds)
	}
}

// N-4-03 N-6-02: with the default segment size no message is longer than an Ethernet carries whole, whatever the code; with the
// longest, none is longer than UDP can be.
func TestMessagesFitOneDatagram(t *testing.T) {
	const ethernet, ip6, ip4, udp = 1500, 40, 20, 8
	for _, tt := range []struct {
		segment, blocks, limit int
	}{{0, 100, ethernet - ip6 - udp}, {65000, 2, 65535 - ip4 - udp}} {
		for _, id := range []uint8{fec.NoCode, fec.ReedSolomon, fec.ReedSolomonGF8, fec.SmallBlockSystematic} {
			p := fec.Params{ID: id, MaxBlockLen: 8, MaxParity: 4}
			if id == fec.NoCode {
				p.MaxParity = 0
			}
			r := newRig(t, func(c *SenderConfig) { c.SegmentSize = tt.segment; c.FEC = p; c.Rate = 1e9; c.MaxObjects = 2000 })
			segment := r.cfg.SegmentSize
			r.enqueue(8*tt.blocks*segment, func(o *Object) { o.Info = content(segment) })
			r.run(time.Second)
			for range 800 {
				r.Cancel(r.now, r.enqueue(0, nil))
			}
			for b := range tt.blocks {
				r.nackTo(testServer, fmt.Sprintf("0/%d/1 0/%d/3", b, b))
			}
			r.nackTo(testServer, "o1-800")
			r.run(2 * time.Second)
			longest := 0
			for _, s := range r.take() {
				longest = max(longest, s.len)
			}
			if longest > tt.limit || longest < segment+16 {
				t.Errorf("id %d, segments of %d bytes: a message of %d bytes, limit %d", id, segment, longest, tt.limit)
			}
			if s := r.Stats(); s.Squelches == 0 || s.Repairs == 0 {
				t.Errorf("id %d: %+v: the test proves nothing", id, s)
			}
		}
	}
}
