package norm

import (
	"errors"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/wire"
)

func TestEnqueueRefuses(t *testing.T) {
	r := newRig(t, func(c *SenderConfig) { c.MaxBytes = 1 << 30; c.FEC.ID = fec.ReedSolomon })
	for _, tt := range []struct {
		o    Object
		want string // in the error
	}{
		{Object{Size: -1}, "Size -1"},
		{Object{Size: 1, Info: make([]byte, 101)}, "Info of 101 bytes"}, // N-1.2-01 N-4.2.2-04
		{Object{Size: 1, Kind: 3}, "Kind 3"},
		{Object{Size: 1<<30 + 1}, "MaxBytes"},
	} {
		if _, _, err := r.Enqueue(r.now, tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v", tt.o, err)
		}
	}
	if _, _, err := r.Enqueue(r.now, Object{Size: 1, Info: make([]byte, 100)}); err != nil { // N-1.2-01
		t.Errorf("Info of a whole segment: %v", err)
	}
	r = newRig(t, func(c *SenderConfig) { c.FEC.ID = fec.ReedSolomon })
	// max_transfer_length of RFC 5510, Section 4.2.2: 2^(32-8) * 4 * 100.
	if _, _, err := r.Enqueue(r.now, Object{Size: 1<<24*400 + 1}); err == nil {
		t.Error("an object with more blocks than id 2 can number")
	}
}

func TestNewSenderRefuses(t *testing.T) {
	good := SenderConfig{Node: 1, Group: testGroup}
	if _, err := NewSender(good, time.Now()); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*SenderConfig){
		"Node 0x0":        func(c *SenderConfig) { c.Node = 0 }, // N-6-08 N-6-07
		"Node 0xffffffff": func(c *SenderConfig) { c.Node = wire.NodeAny },
		"Group":           func(c *SenderConfig) { c.Group = netip.AddrPort{} },
		"BackoffFactor":   func(c *SenderConfig) { c.BackoffFactor = 16 },
		"BackoffFactor 1": func(c *SenderConfig) { c.BackoffFactor = 1 }, // N-5.3-06
		"Buffer":          func(c *SenderConfig) { c.Buffer = 1000 },
		"FEC":             func(c *SenderConfig) { c.FEC = fec.Params{ID: fec.ReedSolomonGF8, MaxBlockLen: 250, MaxParity: 10} },
		"AutoParity":      func(c *SenderConfig) { c.AutoParity = 128 },
		"SegmentSize":     func(c *SenderConfig) { c.SegmentSize = 20 },
		"Rate":            func(c *SenderConfig) { c.Rate = math.NaN() },
		"Rate -1":         func(c *SenderConfig) { c.Rate = -1 },
		"Burst":           func(c *SenderConfig) { c.Burst = -1 },
		"MinGRTT":         func(c *SenderConfig) { c.MinGRTT = time.Minute },
		"ProbeInterval":   func(c *SenderConfig) { c.ProbeInterval = -1 },
		"GroupSize":       func(c *SenderConfig) { c.GroupSize = -1 },
		"RobustFactor":    func(c *SenderConfig) { c.RobustFactor = -1 },
		"MaxBytes":        func(c *SenderConfig) { c.MaxBytes = -1 },
		"FlowControl":     func(c *SenderConfig) { c.FlowControl = math.NaN() },
		"FlowControl 2e3": func(c *SenderConfig) { c.FlowControl = 2000 },
		"MaxObjects":      func(c *SenderConfig) { c.MaxObjects = 1 << 15 }, // N-4.2.1-38
	} {
		c := good
		spoil(&c)
		if _, err := NewSender(c, time.Now()); err == nil || !strings.Contains(err.Error(), strings.Fields(name)[0]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A config that names nothing but the session is that of RFC 5740, Section 6.
func TestSenderDefaults(t *testing.T) {
	s, err := NewSender(SenderConfig{Node: 1, Group: testGroup}, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	sh := s.senderHeader()
	// N-6-04 N-5.5.4-02 B-3.8-01 N-4.2.1-22
	if sh.GRTT != 0x9d || sh.Backoff != 4 || sh.GroupSize != 3 || s.cfg.RobustFactor != 20 { // N-6-06
		t.Errorf("%+v, robust factor %d", sh, s.cfg.RobustFactor)
	}
	if p := s.cfg.FEC; p.ID != fec.ReedSolomonGF8 || p.MaxBlockLen != 128 || p.MaxParity != 127 || p.SegmentSize != 1400 { // B-1-01
		t.Errorf("FEC %v", p)
	}
	for group, want := range map[string]int{ // N-5.3-06 N-6-09 N-5.4.1-01 B-3.2.2-03 X4607-1-01
		"239.1.2.3:1": 4, "232.1.2.3:1": 6, "[ff15::1]:1": 4, "[ff3e::8000:1]:1": 6, "[ff3e:30::1]:1": 4, "10.1.2.3:1": 0, "[fd00::1]:1": 0,
	} {
		s, err := NewSender(SenderConfig{Node: 1, Group: netip.MustParseAddrPort(group)}, time.Unix(0, 0))
		if err != nil || s.cfg.BackoffFactor != want {
			t.Errorf("%s: K = %d, %v; want %d", group, s.cfg.BackoffFactor, err, want)
		}
	}
	s, err = NewSender(SenderConfig{
		Node: 5, Instance: 9, Group: testGroup, GRTT: time.Second, BackoffFactor: 6, GroupSize: 200, RobustFactor: 5,
		FEC: fec.Params{MaxBlockLen: 10}, SegmentSize: 512, FirstObject: 77,
	}, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	// N-6-05 N-5.5.4-01: the least code of a group that is not smaller. N-4.2.1-69
	if got, want := s.senderHeader(), (wire.SenderHeader{Instance: 9, GRTT: wire.EncodeRTT(time.Second), Backoff: 6, GroupSize: wire.EncodeGroupSize(500)}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	// N-4.2.1-76
	if _, id, err := s.Enqueue(time.Unix(0, 0), Object{Size: 1}); id != 77 || err != nil {
		t.Errorf("first id %d, %v", id, err)
	}
}

// I-21: RFC 5052 gives an object without bytes no block, so it is its NORM_INFO alone.
func TestSendEmptyObject(t *testing.T) {
	r := newRig(t, nil)
	a := r.enqueue(0, func(o *Object) { o.Info = []byte("empty.txt") })
	b := r.enqueue(0, nil)
	r.run(50 * time.Millisecond)
	infos := of[*wire.Info](r.sent)
	r.wantScript("i0 i1")
	for i, m := range infos {
		fti, ok := m.Extensions.FTI(m.FECID)
		if !ok || fti.ObjectSize != 0 || m.Flags != wire.FlagInfo || string(m.Payload) != []string{"empty.txt", ""}[i] {
			t.Errorf("%v: FTI %+v", m, fti)
		}
	}
	r.wantEvents(Event{Kind: ObjectSent, Object: a}, Event{Kind: ObjectSent, Object: b})
	r.idle()
	r.nackRequest("o0-1")
	r.run(600 * time.Millisecond)
	r.wantScript("i0r i1r")
}

// N-4.2.1-36: ids go up by one and around. N-1.2-02 N-4.2.1-72
func TestIDsWrap(t *testing.T) {
	r := newRig(t, func(c *SenderConfig) { c.FirstObject = 65534 })
	for range 4 {
		r.enqueue(100, nil)
	}
	r.run(100 * time.Millisecond)
	r.wantScript("65534/0/0 65535/0/0 0/0/0 1/0/0")
	r.idle()
	r.nackRequest("0/0/1 65534/0/1 1/0/1 65535/0/1")
	r.run(600 * time.Millisecond)
	r.wantScript("65534/0/1r 65535/0/1r 0/0/1r 1/0/1r")
	r.run(time.Second)
	r.nackRequest("o65535-0")
	r.run(time.Second)
	r.wantScript("65535/0/0r 0/0/0r")
}

func TestCacheLimits(t *testing.T) {
	r := newRig(t, func(c *SenderConfig) { c.MaxObjects = 3; c.MaxBytes = 1000 })
	pinned := r.enqueue(100, func(o *Object) { o.Pinned = true })
	old := r.enqueue(100, nil)
	r.enqueue(100, nil)
	if _, _, err := r.Enqueue(r.now, Object{Size: 1}); !errors.Is(err, ErrTooManyObjects) && r.current != nil {
		t.Errorf("Enqueue of a fourth unsent object: %v", err)
	}
	r.idle()
	r.events = nil
	young := r.enqueue(100, nil) // the oldest that is sent and not pinned gives way
	r.wantEvents(Event{Kind: ObjectPurged, Object: old, Err: ErrEvicted}, Event{Kind: ObjectSent, Object: young})
	if _, ok := r.Object(pinned); !ok {
		t.Error("the pinned object is gone")
	}
	r.idle()
	r.events = nil
	r.enqueue(850, nil) // 100 pinned and 850 are below 1000, so both others go
	if got := len(slices.DeleteFunc(r.events, func(e Event) bool { return e.Kind != ObjectPurged })); got != 2 {
		t.Errorf("%d purged", got)
	}
	r.nackRequest("o1")
	r.run(time.Second)
	if r.Stats().Squelches != 1 {
		t.Error("no SQUELCH for a purged object") // N-4.2.3.3-02 N-5.2-03
	}
}

// N-4.2.1-38 X6968-3.6-01: the ids of the objects held span less than half of the number space.
func TestIDSpanIsLimited(t *testing.T) {
	r := newRig(t, func(c *SenderConfig) { c.MaxObjects = 2; c.Rate = 1e12; c.Burst = 1 << 22; c.FlowControl = -1 })
	r.enqueue(0, func(o *Object) { o.Pinned = true })
	for range 32766 {
		r.enqueue(0, nil)
		r.events = nil
		r.sent = nil
	}
	if _, _, err := r.Enqueue(r.now, Object{}); err != nil {
		t.Fatalf("object 32767: %v", err)
	}
	r.drain()
	if _, _, err := r.Enqueue(r.now, Object{}); !errors.Is(err, ErrTooManyObjects) {
		t.Errorf("object 32768: %v", err)
	}
}

func TestCancelObject(t *testing.T) {
	r := newRig(t, func(c *SenderConfig) { c.Rate = 80_000 })
	a, b, c := r.enqueue(2000, nil), r.enqueue(2000, nil), r.enqueue(100, nil)
	r.run(50 * time.Millisecond)
	r.take()
	for _, h := range []Handle{a, b} { // being sent, and waiting
		if err := r.Cancel(r.now, h); err != nil {
			t.Fatal(err)
		}
	}
	r.run(100 * time.Millisecond)
	r.wantScript("2/0/0")
	r.wantEvents(Event{Kind: ObjectPurged, Object: a, Err: ErrCancelled}, Event{Kind: ObjectPurged, Object: b, Err: ErrCancelled},
		Event{Kind: ObjectSent, Object: c})
	if err := r.Cancel(r.now, a); !errors.Is(err, ErrUnknownObject) {
		t.Errorf("second Cancel: %v", err)
	}

	// While it is being repaired.
	r = repaired(t, func(c *SenderConfig) { c.Rate = 80_000 })
	r.nackRequest("0/b0 1/b0")
	r.run(r.grtts(5) + 20*time.Millisecond)
	r.take()
	r.Cancel(r.now, r.Sender.objects[0].handle)
	r.run(time.Second)
	r.wantScript("1/0/0r 1/0/1r 1/0/2r 1/0/3r")
}

func TestObjectState(t *testing.T) {
	r := newRig(t, func(c *SenderConfig) { c.Rate = 80_000 })
	h := r.enqueue(2000, func(o *Object) { o.Kind = File; o.Info = []byte("x") })
	r.run(100 * time.Millisecond)
	o, ok := r.Object(h)
	if !ok || o.Sent || o.Position == 0 || o.Position >= 2000 || o.Size != 2000 || o.Kind != File || !o.HasInfo {
		t.Errorf("%+v", o)
	}
	r.idle()
	r.nackRequest("0/0/4")
	if o, _ := r.Object(h); !o.Sent || o.Position != 2000 || !o.Pending {
		t.Errorf("%+v", o)
	}
	r.idle()
	if o, _ := r.Object(h); o.Pending {
		t.Errorf("%+v", o)
	}
	if _, ok := r.Object(h + 1); ok {
		t.Error("an object that does not exist")
	}
}

// A read that fails purges its object; others go on.
func TestReadError(t *testing.T) {
	r := newRig(t, nil)
	r.readErr = errors.New("disk on fire")
	h, _, err := r.Enqueue(r.now, Object{Size: 1000})
	if err != nil {
		t.Fatal(err)
	}
	r.drain()
	r.wantEvents(Event{Kind: ObjectPurged, Object: h, Err: r.readErr})
	r.readErr = nil
	r.enqueue(100, nil)
	r.run(50 * time.Millisecond)
	r.wantScript("1/0/0")
}

// Reads go ahead of what is sent, in a fixed number of buffers, and may complete in any order or after their object
// is gone.
func TestReadAhead(t *testing.T) {
	r := newRig(t, func(c *SenderConfig) { c.Buffer = 3 * 400 })
	r.hold = true
	h := r.enqueue(4000, nil) // 10 blocks
	if len(r.held) != 3 {
		t.Fatalf("%d reads for 3 buffers", len(r.held))
	}
	for i, io := range r.held {
		if io.Op != Read || io.Object != h || io.Offset != int64(400*i) || len(io.B) != 400 {
			t.Errorf("read %d: %+v", i, io)
		}
	}
	slices.Reverse(r.held)
	for _, io := range r.held {
		if len(r.Sender.cache.buffers) > 3 {
			t.Error("more buffers than there may be")
		}
		r.perform(io)
	}
	r.hold = false
	r.run(time.Second)
	if got := script(r.take()); strings.Count(got, "0/9/3") != 1 || strings.Count(got, " ") != 39 {
		t.Errorf("sent %s", got)
	}
	r.hold, r.held = true, nil
	h = r.enqueue(4000, nil)
	r.Cancel(r.now, h)
	late := r.held
	r.hold = false
	r.enqueue(100, nil) // finds no buffer until the reads come back
	for _, io := range late {
		r.perform(io)
	}
	r.run(50 * time.Millisecond)
	r.wantScript("2/0/0")
}

// N-2-01 N-4.1-15: somebody else with our NormNodeId is reported, our own multicast is not.
func TestSenderNodeCollision(t *testing.T) {
	own := func(r *rig, from netip.AddrPort, instance InstanceID) {
		m := &wire.EOT{Header: wire.Header{Source: 1}, SenderHeader: wire.SenderHeader{Instance: instance}}
		b, _ := m.AppendBinary(nil)
		r.Handle(r.now, Datagram{From: from, To: testGroup, B: b})
		r.drain()
	}
	r := newRig(t, nil)
	for range 3 {
		own(r, testServer, 7)
	}
	r.wantEvents()
	own(r, testReceiver, 7)
	own(r, testReceiver, 7)
	r.wantEvents(Event{Kind: NodeCollision, Node: 1})

	r = newRig(t, nil)
	own(r, testReceiver, 8) // another start of it
	r.wantEvents(Event{Kind: NodeCollision, Node: 1})

	r = newRig(t, nil)
	for _, m := range []wire.Message{ // the receiver of our node, for another sender
		&wire.Nack{Header: wire.Header{Source: 1}, FeedbackHeader: wire.FeedbackHeader{Server: 2, Instance: 7}},
		&wire.Ack{Header: wire.Header{Source: 1}, FeedbackHeader: wire.FeedbackHeader{Server: 2, Instance: 7}, AckType: wire.AckCC},
	} {
		r.hear(m, testGroup)
	}
	r.wantEvents()
	r.hear(&wire.Nack{Header: wire.Header{Source: 1}, FeedbackHeader: r.feedback()}, testGroup)
	r.wantEvents(Event{Kind: NodeCollision, Node: 1})
}

// TestRepeatInfo: for receivers that cannot ask, NORM_INFO comes again ahead of each block.
func TestRepeatInfo(t *testing.T) {
	r := newRig(t, func(c *SenderConfig) { c.RepeatInfo = true })
	r.enqueue(1000, func(o *Object) { o.Info = []byte("name") })
	r.run(time.Second)
	var got []wire.Flags
	for _, m := range of[*wire.Info](r.take()) {
		got = append(got, m.Flags&wire.FlagRepair)
	}
	if want := []wire.Flags{0, wire.FlagRepair, wire.FlagRepair}; !slices.Equal(got, want) {
		t.Errorf("NORM_INFO with flags %v, want %v ahead of 3 blocks", got, want)
	}
}
