package norm

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// nackPayload writes repair requests given in short: "7/0/1-3" segments 1 to 3 of block 0 of object 7, "7/b0-2" blocks 0 to
// 2, "7/0/e2" two erasures in block 0, "o7-9" objects 7 to 9, "i7" the NORM_INFO of 7.
func nackPayload(t testing.TB, p fec.Params, short string) []byte {
	t.Helper()
	l, err := newLayout(p, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	w := wire.NewRepairWriter(nil, 1<<16)
	for _, word := range strings.Fields(short) {
		var o, b, lo, hi int
		ok := true
		at := func(o, b, i int) wire.Position { return l.position(TransportID(o), uint32(b), i) }
		scan := func(format string, args ...any) bool {
			n, err := fmt.Sscanf(word, format, args...)
			return err == nil && n == len(args)
		}
		switch {
		case scan("o%d-%d", &lo, &hi):
			ok = w.Range(wire.RepairObject, at(lo, 0, 0), at(hi, 0, 0))
		case scan("o%d", &o):
			ok = w.Item(wire.RepairObject, at(o, 99, 7)) // the payload id is meaningless
		case scan("i%d-%d", &lo, &hi):
			ok = w.Range(wire.RepairInfo, at(lo, 0, 0), at(hi, 0, 0))
		case scan("i%d", &o):
			ok = w.Item(wire.RepairInfo, at(o, 0, 0))
		case scan("%d/b%d-%d", &o, &lo, &hi):
			ok = w.Range(wire.RepairBlock, at(o, lo, 0), at(o, hi, 0))
		case scan("%d/b%d", &o, &b):
			ok = w.Item(wire.RepairBlock, at(o, b, 3)) // the symbol is meaningless
		case scan("%d/%d/e%d", &o, &b, &lo):
			ok = w.Erasures(at(o, b, lo))
		case scan("%d/%d/%d-%d", &o, &b, &lo, &hi):
			ok = w.Range(wire.RepairSegment, at(o, b, lo), at(o, b, hi))
		case scan("%d/%d/%d", &o, &b, &lo):
			ok = w.Item(wire.RepairSegment, at(o, b, lo))
		default:
			ok = false
		}
		if !ok {
			t.Fatalf("request %q", word)
		}
	}
	return w.Bytes()
}

// feedback is the header of NACKs and ACKs to the sender of the rig.
func (r *rig) feedback() wire.FeedbackHeader {
	return wire.FeedbackHeader{Server: r.cfg.Node, Instance: r.cfg.Instance}
}

// hear hands a message of receiver 9 to the sender.
func (r *rig) hear(m wire.Message, to netip.AddrPort) {
	r.t.Helper()
	b, err := m.AppendBinary(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.Handle(r.now, Datagram{From: testReceiver, To: to, B: b})
	r.drain()
}

// nackTo sends a NORM_NACK with the requests given in short.
func (r *rig) nackTo(to netip.AddrPort, short string) {
	r.t.Helper()
	r.hear(&wire.Nack{
		Header: wire.Header{Source: 9}, FeedbackHeader: r.feedback(), Payload: nackPayload(r.t, r.cfg.FEC, short),
	}, to)
}

func (r *rig) nackRequest(short string) { r.t.Helper(); r.nackTo(testGroup, short) }

// repaired starts a sender whose objects are sent: object 0 of 12 symbols in 3 blocks, 1 of 4 symbols with NORM_INFO.
func repaired(t *testing.T, change func(*SenderConfig)) *rig {
	r := newRig(t, change)
	r.enqueue(1200, nil)
	r.enqueue(350, func(o *Object) { o.Info = []byte("info") })
	r.idle()
	r.events = nil
	return r
}

// What one aggregation of NACKs is answered with, all other things being as they are after the first transmission.
func TestRepairContent(t *testing.T) {
	for _, tt := range []struct {
		name  string
		nacks []string
		want  string
	}{
		// N-5.4.2-01 N-4.3.1-16
		{"parity for source", []string{"0/1/2"}, "0/1/4r"},
		// The greatest number that one receiver lacks. N-5.4.2-02 N-4.2.1-25 N-5.4.2-05
		{"max erasures", []string{"0/1/4-6", "0/1/4-5"}, "0/1/4r 0/1/5r 0/1/6r"},
		{"erasures in several items", []string{"0/1/4 0/1/6 0/1/7"}, "0/1/4r 0/1/5r 0/1/6r"},
		{"not the sum of receivers", []string{"0/1/0", "0/1/1", "0/1/2"}, "0/1/4r"},
		// N-5-02 B-3.2.4-02
		{"lowest first", []string{"1/0/4", "0/2/4", "0/0/4-5"}, "0/0/4r 0/0/5r 0/2/4r 1/0/4r"},
		{"no more than a block lacks", []string{"0/0/2-7"}, "0/0/4r 0/0/5r 0/0/6r 0/0/7r"},
		{"erasures form", []string{"0/1/e3"}, "0/1/4r 0/1/5r 0/1/6r"}, // N-4.3.1-15
		// N-4.3.1-17 N-5.4.1-08
		{"block", []string{"0/b1"}, "0/1/0r 0/1/1r 0/1/2r 0/1/3r"},
		{"blocks", []string{"0/b1-2"}, "0/1/0r 0/1/1r 0/1/2r 0/1/3r 0/2/0r 0/2/1r 0/2/2r 0/2/3r"},
		{"block with segments", []string{"0/1/4", "0/b1", "0/1/5-6"}, "0/1/0r 0/1/1r 0/1/2r 0/1/3r"},
		{"info", []string{"i1"}, "i1r"}, // N-5.4.1-08 N-4.2.2-08
		{"info of one that has none", []string{"i0"}, ""},
		// N-4.3.1-19 N-5.4.1-08
		{"object", []string{"o1"}, "i1r 1/0/0r 1/0/1r 1/0/2r 1/0/3r"},
		// N-4.3.1-20
		{"all in one NACK", []string{"0/0/4 0/b1 i1 1/0/4"}, "0/0/4r 0/1/0r 0/1/1r 0/1/2r 0/1/3r i1r 1/0/4r"},
		// N-5.4.1-11
		{"no such object yet", []string{"o2 2/0/1 i2"}, ""},
		{"no such block", []string{"0/3/0 0/b3-9 1/1/4"}, ""},
		{"no such symbol", []string{"0/0/8-200"}, ""},
		{"beyond the last symbol", []string{"0/0/7-200"}, "0/0/4r"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := repaired(t, nil)
			for _, n := range tt.nacks {
				r.nackRequest(n)
			}
			r.run(600 * time.Millisecond)
			r.wantScript(tt.want)
			if n := r.Stats().Squelches; n != 0 {
				t.Errorf("%d squelches", n)
			}
		})
	}
}

// An INFO request may be combined with one for blocks or segments. N-4.3.1-18
func TestRepairCombinedFlags(t *testing.T) {
	for flags, want := range map[wire.RepairFlags]string{
		wire.RepairInfo | wire.RepairSegment: "i1r 1/0/4r",
		wire.RepairInfo | wire.RepairBlock:   "i1r 1/0/0r 1/0/1r 1/0/2r 1/0/3r",
		wire.RepairInfo | wire.RepairObject:  "i1r 1/0/0r 1/0/1r 1/0/2r 1/0/3r",
		0:                                    "",
	} {
		r := repaired(t, nil)
		w := wire.NewRepairWriter(nil, 100)
		w.Item(flags, r.Sender.objects[1].position(1, 0, 2))
		r.hear(&wire.Nack{Header: wire.Header{Source: 9}, FeedbackHeader: r.feedback(), Payload: w.Bytes()}, testGroup)
		r.run(600 * time.Millisecond)
		r.wantScript(want)
	}
}

// "The sender SHOULD NOT resort to explicit transmission of the receiver set's repair needs until after exhausting its
// supply of "fresh" (unsent) parity segments". RFC 5740, Section 5.4.2.
func TestRepairFreshParityThenExplicit(t *testing.T) {
	r := repaired(t, nil)
	cycle := func(want string, nacks ...string) {
		t.Helper()
		for _, n := range nacks {
			r.nackRequest(n)
		}
		r.run(600 * time.Millisecond)
		r.wantScript(want)
		r.run(time.Second)
		r.take()
	}
	cycle("0/0/4r 0/0/5r", "0/0/4-5")
	cycle("0/0/6r 0/0/7r", "0/0/4-5")                // N-5.4.2-03
	cycle("0/0/4rx 0/0/5rx", "0/0/4", "0/0/5")       // the union. B-3.2.3.1-02 N-4.2.1-26 N-5.4.2-05
	cycle("0/0/1rx 0/0/7rx", "0/0/1 0/0/7", "0/0/7") // sources, too
	cycle("0/0/0rx 0/0/1rx", "0/0/e2")               // names none, so any
	cycle("0/1/4r 0/1/5r 0/1/6r", "0/1/5-7")         // other blocks still have theirs
	// One fresh symbol does not do for two erasures: all that is asked for, and not it. N-5.4.2-04 B-3.2.3.1-02
	cycle("0/1/2rx 0/1/4rx 0/1/5rx", "0/1/4-5", "0/1/2 0/1/4")
	cycle("0/1/7r", "0/1/4") // it is still fresh
	cycle("0/1/4rx", "0/1/4")
	if s := r.Stats(); s.Explicit != 10 || s.Repairs != 18 {
		t.Errorf("%d repairs, %d explicit", s.Repairs, s.Explicit)
	}

	// Parity that a block repair comes after stays sent. N-5.4.1-09
	cycle("0/2/4r 0/2/5r", "0/2/4-5")
	cycle("0/2/0r 0/2/1r 0/2/2r 0/2/3r", "0/b2")
	cycle("0/2/6r 0/2/7r", "0/2/4-5")
	cycle("0/2/4rx", "0/2/4") // there is no symbol 8

	// Nor is parity fresh that was sent explicitly.
	r.enqueue(400, nil)
	r.idle()
	cycle("2/0/4r 2/0/5r 2/0/6r", "2/0/4-6")
	cycle("2/0/6rx 2/0/7rx", "2/0/6-7")
	cycle("2/0/4rx", "2/0/4")
}

// Proactive parity is not fresh any more when a repair is due.
func TestAutoParity(t *testing.T) {
	r := newRig(t, func(c *SenderConfig) { c.AutoParity = 2 })
	r.enqueue(500, nil) // blocks of 3 and 2 symbols
	r.run(100 * time.Millisecond)
	r.wantScript("0/0/0 0/0/1 0/0/2 0/0/3 0/0/4 0/1/0 0/1/1 0/1/2 0/1/3") // N-2-05
	r.nackRequest("0/0/3")
	r.run(600 * time.Millisecond)
	r.wantScript("0/0/5r")
	if s := r.Stats(); s.Data != 5 || s.Parity != 4 {
		t.Errorf("%+v", s)
	}
}

// Parity of a short symbol, or of a short block, is a whole segment, and right.
func TestRepairParityDecodes(t *testing.T) {
	for _, p := range []fec.Params{
		{ID: fec.ReedSolomonGF8, MaxBlockLen: 4, MaxParity: 4},
		{ID: fec.SmallBlockSystematic, MaxBlockLen: 4, MaxParity: 4, Dialect: fec.NRL},
		{ID: fec.ReedSolomon, MaxBlockLen: 4, MaxParity: 4},
	} {
		r := newRig(t, func(c *SenderConfig) { c.FEC = p })
		r.enqueue(250, nil)
		r.idle()
		r.nackRequest("0/0/3-5")
		r.run(600 * time.Millisecond)
		symbols := make([][]byte, 6)
		for _, m := range of[*wire.Data](r.take()) {
			id := m.PayloadID(0)
			if len(m.Payload) != 100 { // N-4.2.1-49
				t.Errorf("%v: %d bytes", m, len(m.Payload))
			}
			if want := uint16(3); p.ID == fec.SmallBlockSystematic && id.BlockLen != want {
				t.Errorf("%v: source_block_len %d", m, id.BlockLen) // N-4.2.1-41
			}
			symbols[id.Symbol] = m.Payload
		}
		scheme := r.Sender.objects[0].scheme
		dst := [][]byte{make([]byte, 100), make([]byte, 100), make([]byte, 50)}
		if err := scheme.Decode(dst, symbols); err != nil {
			t.Fatal(err)
		}
		got := append(append(dst[0], dst[1]...), dst[2]...)
		if want := content(250); string(got) != string(want) { // N-4.2.1-50
			t.Errorf("%v: three parity symbols decode to\n%x\nwant\n%x", p, got, want)
		}
	}
}

// N-5.4.1-02: "T_sndrAggregate = (K_sender + 1) * GRTT_sender", while new data goes on.
func TestAggregation(t *testing.T) {
	for k, wantGRTTs := range map[int]int{-1: 1, 4: 5, 6: 7} {
		r := newRig(t, func(c *SenderConfig) { c.BackoffFactor = k; c.Rate = 80_000 })
		r.enqueue(400*100, nil) // 14 ms a message
		r.run(time.Second)
		r.take()
		r.nackRequest("0/1/4")
		nacked := r.now.Sub(r.start)
		r.run(time.Second)
		sent := r.take()
		for i, s := range sent {
			m, ok := s.msg.(*wire.Data)
			if !ok || m.Flags&wire.FlagRepair == 0 {
				continue
			}
			waited := s.at - nacked
			want := time.Duration(wantGRTTs) * r.grtt.advertised
			if waited < want || waited > want+20*time.Millisecond {
				t.Errorf("K = %d: repair after %v, want %v", k, waited, want)
			}
			if len(of[*wire.Data](sent[:i])) < 5 {
				t.Errorf("K = %d: new data did not flow meanwhile", k)
			}
			// The position goes back and then on where it was. N-5.4.1-04 N-5-02 B-3.1-03
			before, after := sent[i-1].msg.(*wire.Data), sent[i+1].msg.(*wire.Data)
			if before.PayloadID(0).Symbol+1 != after.PayloadID(0).Symbol && after.PayloadID(0).Symbol != 0 || after.Flags != 0 {
				t.Errorf("K = %d: %v before and %v after the repair", k, before, after)
			}
		}
		if r.Stats().Repairs != 1 {
			t.Errorf("K = %d: %d repairs", k, r.Stats().Repairs)
		}
	}
}

// N-5.4.1-03: "for NORM unicast sessions, the T_sndrAggregate time can be set to ZERO".
func TestUnicastRepairsAtOnce(t *testing.T) {
	r := repaired(t, func(c *SenderConfig) { c.Group = testReceiver })
	r.nackTo(testServer, "0/1/4")
	sent := r.take()
	if got := script(sent); got != "0/1/4r" {
		t.Errorf("sent %s at once", got)
	}
	for _, m := range of[*wire.Data](sent) {
		if m.Backoff != 0 { // N-5.4.1-01: "the K_sender value SHOULD be set to ZERO for NORM unicast sessions"
			t.Errorf("K = %d in a unicast session", m.Backoff)
		}
	}
	r.run(time.Second)
	if n := len(of[*wire.RepairAdv](append(sent, r.take()...))); n != 0 {
		t.Errorf("%d REPAIR_ADV in a unicast session", n)
	}
}

// N-5.4.1-06 N-5.4.1-07: in T_sndrHoldoff only what is ahead of the position counts; behind it a new cycle starts.
func TestSenderHoldoff(t *testing.T) {
	// A repair takes 14 ms, so that the hold-off ends while the repairs of three blocks are being sent.
	r := repaired(t, func(c *SenderConfig) { c.Rate, c.Burst = 80_000, 2*c.maxDatagram() })
	grtt := r.grtt.advertised
	r.nackRequest("0/b0-1")
	r.run(5 * grtt)
	r.run(15 * time.Millisecond)
	if got, want := script(r.take()), "0/0/0r 0/0/1r 0/0/2r"; got != want {
		t.Fatalf("sent %s, want %s", got, want)
	}
	r.nackRequest("0/0/0-1")              // behind: ignored
	r.nackRequest("0/2/4")                // ahead: at once
	r.nackRequest("0/0/4-5 1/0/4 0/b0-2") // one more than is left of block 0, and what is ahead
	cycles := r.Stats().RepairCycles
	r.run(2 * grtt)
	r.wantScript("0/0/3r 0/0/4r 0/1/0r 0/1/1r 0/1/2r 0/1/3r 0/2/0r 0/2/1r 0/2/2r 0/2/3r 0/2/4r 1/0/4r")
	if s := r.Stats(); s.RepairCycles != cycles || s.NacksIgnored != 1 {
		t.Errorf("%d new cycles, %d NACKs ignored", s.RepairCycles-cycles, s.NacksIgnored)
	}
	r.nackRequest("0/0/1") // the hold-off is over
	r.run(6 * grtt)
	r.wantScript("0/0/5r")
}

// N-5.4.1-05 N-5.3-23: T_sndrHoldoff = 1*GRTT from the rewind on, in which no aggregation begins.
func TestSenderHoldoffLasts(t *testing.T) {
	for _, before := range []time.Duration{time.Nanosecond, 0} {
		r := repaired(t, nil)
		r.nackRequest("0/0/4")
		r.run(r.grtts(5) + r.grtts(1) - before)
		r.wantScript("0/0/4r")
		r.nackRequest("0/0/4") // behind the position
		if got, want := r.aggregating(), before == 0; got != want {
			t.Errorf("%v before the end of the hold-off: aggregating %v", before, got)
		}
		want := ""
		if before == 0 {
			want = "0/0/5r"
		}
		r.run(r.grtts(6))
		r.wantScript(want)
	}
}

// N-5.4.1-07: the next aggregation runs while repairs of the last one, and new data, are sent.
func TestAggregationDuringRepair(t *testing.T) {
	r := newRig(t, func(c *SenderConfig) { c.Rate = 80_000 })
	r.enqueue(4*100*100, nil)
	r.run(4 * time.Second)
	r.nackRequest("0/b0-29")
	r.run(r.grtts(6) + 50*time.Millisecond)
	r.take()
	r.nackRequest("0/0/4")
	r.run(r.grtts(6))
	before, after, ok := strings.Cut(script(r.take()), " 0/0/4r ")
	if !ok || !strings.HasSuffix(before, "r") || !strings.Contains(strings.SplitN(after, " ", 2)[0], "r") {
		t.Errorf("no rewind within the repairs of the first cycle: %q, %q", before, after)
	}
}

// N-5.4.1-10: what is to be sent anyway is not sent twice.
func TestRequestsForPendingSymbolsAreAbsorbed(t *testing.T) {
	r := repaired(t, func(c *SenderConfig) { c.Rate = 8000 }) // 140 ms a message, which is more than GRTT
	r.nackRequest("0/0/4-6 0/b2 i1")
	r.run(r.grtts(6))
	for range 3 { // the hold-off is over, and most of the plan is not sent
		r.nackRequest("0/0/4 0/b2 0/2/4-5 i1")
	}
	r.run(10 * time.Second)
	if got := script(r.take()); strings.Count(got, "0/2/0r") != 1 || strings.Count(got, "i1r") != 1 || strings.Contains(got, "0/2/4") {
		t.Errorf("sent %s", got)
	}

	r = newRig(t, func(c *SenderConfig) { c.Rate = 8000 })
	r.enqueue(1200, nil)
	r.run(700 * time.Millisecond)
	r.nackRequest("0/1/0 0/b2 o0") // of new data; object 0 as far as it is sent
	r.run(10 * time.Second)
	if got := script(r.take()); strings.Count(got, "0/2/0") != 1 || strings.Count(got, "0/2/3") != 1 {
		t.Errorf("sent %s", got)
	}
}

// Requests for other senders or other starts of this one, and malformed ones, have no effect.
func TestForeignNacks(t *testing.T) {
	r := repaired(t, nil)
	payload := nackPayload(t, r.cfg.FEC, "0/0/4")
	before := r.Stats()
	send := func(change func(*wire.Nack)) {
		m := &wire.Nack{Header: wire.Header{Source: 9}, FeedbackHeader: r.feedback(), Payload: payload}
		change(m)
		r.hear(m, testGroup)
	}
	send(func(m *wire.Nack) { m.Server = 2 }) // N-4.3.1-02
	send(func(m *wire.Nack) { m.Instance-- }) // N-4.3.1-03
	for _, id := range []byte{0, 0xff} {      // N-6-07
		m := &wire.Nack{Header: wire.Header{Source: 9}, FeedbackHeader: r.feedback(), Payload: payload}
		b, _ := m.AppendBinary(nil)
		copy(b[4:], []byte{id, id, id, id})
		r.Handle(r.now, Datagram{From: testReceiver, To: testGroup, B: b})
	}
	send(func(m *wire.Nack) { m.Payload = []byte{9, 1, 0, 0} })                     // unknown form
	send(func(m *wire.Nack) { m.Payload = append([]byte{1, 1, 0, 3}, 5, 0, 0) })    // N-4.3.1-23
	send(func(m *wire.Nack) { m.Payload = nackPayload(t, r.cfg.FEC, "0/0/4")[:8] }) // cut off
	send(func(m *wire.Nack) { m.Payload = make([]byte, r.cfg.SegmentSize+1) })      // more than a receiver may send
	other := fec.Params{ID: fec.SmallBlockSystematic, MaxBlockLen: 4, MaxParity: 4} // N-4.3.1-25
	other.SegmentSize = 100
	send(func(m *wire.Nack) { m.Payload = nackPayload(t, other, "0/0/4 0/b1") })
	r.Handle(r.now, Datagram{From: testReceiver, To: testGroup, B: []byte{0x24, 6, 0, 0, 0, 0, 0, 9}}) // version 2: N-4.1-03
	r.run(time.Second)
	r.wantScript("")
	s := r.Stats()
	if s.Drops.Foreign != before.Drops.Foreign+2 || s.Drops.Malformed < before.Drops.Malformed+5 || s.RepairCycles != 0 {
		t.Errorf("%+v", s.Drops)
	}
	// An item of another FEC Encoding ID still names its object. N-4.3.1-25
	send(func(m *wire.Nack) { m.Payload = nackPayload(t, other, "o1") })
	r.run(time.Second)
	r.wantScript("i1r 1/0/0r 1/0/1r 1/0/2r 1/0/3r")
}

// Repair state is masks that all NACKs add up to. B-3.2.3.1-03
func TestRepairStateIsBounded(t *testing.T) {
	r := newRig(t, func(c *SenderConfig) { c.FEC.ID = fec.SmallBlockSystematic })
	h := r.enqueue(0, nil)
	if err := r.Cancel(r.now, h); err != nil {
		t.Fatal(err)
	}
	h, _, err := r.Enqueue(r.now, Object{Size: 100 * 4 << 20, RepairOnly: true}) // 2^20 blocks
	if err != nil {
		t.Fatal(err)
	}
	r.hold = true
	r.run(time.Second)
	r.nackRequest("o1")
	o := r.byHandle(h)
	if len(o.asked.blocks) != 0 || len(o.asked.whole) != 1 {
		t.Errorf("%d blocks, %d ranges for a whole object", len(o.asked.blocks), len(o.asked.whole))
	}
	r.run(time.Second)
	if len(o.plan.blocks) > 1 || len(o.plan.whole) != 1 || o.plan.whole[0].hi != 1<<20 {
		t.Errorf("plan of %d blocks and %v", len(o.plan.blocks), o.plan.whole)
	}
	// Any number of receivers that ask the same cost what one does.
	r.nackRequest("1/b5")
	for range 100 {
		r.nackRequest("1/100/4-6 1/200/4")
	}
	if len(o.asked.blocks) > 2 {
		t.Errorf("%d blocks", len(o.asked.blocks))
	}
}

// The pool bounds what is remembered whatever is asked for.
func TestRepairStateLimit(t *testing.T) {
	r := newRig(t, func(c *SenderConfig) { c.FEC.ID = fec.SmallBlockSystematic; c.SegmentSize = 1000 })
	h, _, _ := r.Enqueue(r.now, Object{Size: 1000 * 4 << 20, RepairOnly: true})
	r.hold = true
	r.run(time.Second)
	o := r.byHandle(h)
	for b := uint32(0); r.Stats().Drops.Refused == 0; {
		w := wire.NewRepairWriter(nil, r.cfg.SegmentSize)
		for ; w.Item(wire.RepairSegment, o.position(o.id, b, 4)); b += 2 {
		}
		r.hear(&wire.Nack{Header: wire.Header{Source: 9}, FeedbackHeader: r.feedback(), Payload: w.Bytes()}, testGroup)
		if len(o.asked.blocks) > repairMemory/64 {
			t.Fatalf("%d blocks", len(o.asked.blocks))
		}
	}
	r.run(time.Second)
	if len(o.plan.blocks) == 0 {
		t.Error("nothing of it is planned")
	}
}

// B-3.2.4-01: the sender collects NACKs for one GRTT longer than receivers may back off, and then ignores them for one; what
// receivers are silent for after a NACK is their sum.
func TestTimersOfBothEndsFit(t *testing.T) {
	for _, k := range []int{2, 4, 15} {
		s := newRig(t, func(c *SenderConfig) { c.BackoffFactor = k })
		s.enqueue(1200, nil)
		s.idle()
		s.nackRequest("0/0/4")
		nacked := s.now
		for s.aggregating() {
			s.now = s.Deadline()
			s.Advance(s.now)
			s.drain()
		}
		aggregate, holdoff := s.now.Sub(nacked), s.timers[timerHoldoff].Sub(s.now)

		r := newReceiverRig(t, ReceiverConfig{})
		r.grtt, r.backoff = s.grtt.advertised, uint8(k)
		o := blocks(t, 0, 3)
		r.block(o, 0, 1)
		r.data(o, 1, 0)
		for len(r.sent) == 0 {
			r.now = r.Deadline()
			r.Advance(r.now)
			r.drain()
		}
		silent := r.senders[rigSender].nack.until.Sub(r.now)

		longest := time.Duration(k) * r.grtt // T_maxBackoff
		if aggregate < longest+r.grtt || holdoff != r.grtt || silent != aggregate+holdoff {
			t.Errorf("K = %d: T_sndrAggregate %v, T_sndrHoldoff %v, T_rcvrHoldoff %v with GRTT %v", k, aggregate, holdoff, silent, r.grtt)
		}
	}
}
