package wire

import (
	"bytes"
	"encoding/json"
	"testing"
)

// Each fuzzer feeds datagrams to one message: what parses must be safe to walk over, must parse equal
// into a message that was used before, and must encode to bytes that parse equal again.

func FuzzInfo(f *testing.F)        { fuzzMessage(f, new(Info)) }
func FuzzData(f *testing.F)        { fuzzMessage(f, new(Data)) }
func FuzzFlush(f *testing.F)       { fuzzMessage(f, new(Flush)) }
func FuzzEOT(f *testing.F)         { fuzzMessage(f, new(EOT)) }
func FuzzSquelch(f *testing.F)     { fuzzMessage(f, new(Squelch)) }
func FuzzCC(f *testing.F)          { fuzzMessage(f, new(CC)) }
func FuzzRepairAdv(f *testing.F)   { fuzzMessage(f, new(RepairAdv)) }
func FuzzAckReq(f *testing.F)      { fuzzMessage(f, new(AckReq)) }
func FuzzApplication(f *testing.F) { fuzzMessage(f, new(Application)) }
func FuzzNack(f *testing.F)        { fuzzMessage(f, new(Nack)) }
func FuzzAck(f *testing.F)         { fuzzMessage(f, new(Ack)) }
func FuzzReport(f *testing.F)      { fuzzMessage(f, new(Report)) }

func fuzzMessage(f *testing.F, used Message) {
	var prefix []byte
	for _, g := range allGoldens() {
		pkt, _ := g.split()
		if used.Parse(pkt) == nil {
			f.Add(pkt)
			prefix = pkt
		}
	}
	if prefix == nil {
		f.Fatalf("no golden message for %T", used)
	}
	f.Fuzz(func(t *testing.T, in []byte) { // N-4.1-07 N-4.1-21
		keep := bytes.Clone(in)
		m := fresh(used)
		err := m.Parse(in)
		if again := used.Parse(in); again != err {
			t.Fatalf("%v, and %v when reused", err, again)
		}
		if !bytes.Equal(in, keep) {
			t.Fatal("Parse wrote to the datagram")
		}
		if err != nil {
			return
		}
		if !same(m, used) {
			t.Fatalf("parsed %+v, and %+v when reused", normalize(m), normalize(used))
		}
		walk(m)
		roundTrip(t, m)
	})
}

// FuzzDecoder feeds datagrams to all messages, as a driver does.
func FuzzDecoder(f *testing.F) {
	for _, g := range allGoldens() {
		pkt, _ := g.split()
		f.Add(pkt)
	}
	var d Decoder
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := d.Parse(in)
		if (m == nil) == (err == nil) {
			t.Fatalf("%v, %v", m, err)
		}
		if err == nil {
			walk(m)
			roundTrip(t, m)
			fields := Reading{M: 16, MaxBlockLen: 64}.Fields(m)
			if j := AppendJSON(nil, fields); !json.Valid(j) {
				t.Fatalf("not JSON: %s", j)
			}
			AppendText(nil, fields)
		} else if at := ErrorOffset(in, err); at < 0 || at > len(in) {
			t.Fatalf("%v at %d of %d", err, at, len(in))
		}
		Peek(in)
		PeekSender(in)
		PeekCmd(in)
		Describe(in)
	})
}

// FuzzRequests feeds payloads to the reader of repair requests: what it yields can be written again,
// and reads the same.
func FuzzRequests(f *testing.F) {
	f.Add(parity64to66())
	f.Add(nrlRequests())
	f.Add(unhex("01010024 8100000c 00000003 00200002 8100000c 00000003 00200005 8100000c 00000003 00200008"))
	f.Add(unhex("03010008 0500000c 00000903 ff010003 010203"))
	f.Fuzz(func(t *testing.T, in []byte) { // N-4.3.1-23
		var want []need
		w := NewRepairWriter(nil, len(in)+4*len(in)) // a request header for every item
		for r := range Requests(in) {
			for first, last := range r.All() {
				n := need{r.Form, r.Flags, first, last}
				switch {
				case r.Form == RepairErasures:
					n.flags = RepairSegment
				case first == last:
					n.form = RepairItems
				}
				if !n.write(&w) {
					t.Fatalf("cannot write %+v", n)
				}
				want = append(want, n)
			}
		}
		for r := range Requests(w.Bytes()) {
			for first, last := range r.All() {
				if got := (need{r.Form, r.Flags, first, last}); len(want) == 0 || got != want[0] {
					t.Fatalf("read %+v, wrote %+v", got, want)
				}
				want = want[1:]
			}
		}
		if len(want) != 0 {
			t.Fatalf("%d needs lost", len(want))
		}
	})
}

// FuzzExtensions feeds header extensions to all finders.
func FuzzExtensions(f *testing.F) {
	f.Add([]byte(fti(SmallBlock, FTI{ObjectSize: 1, SegmentSize: 2, MaxBlockLen: 3, NumParity: 4})))
	f.Add([]byte(AppendRate(AppendCC(nil, feedback), 7)))
	f.Add([]byte(auth(ExtAuth{ASID: 1, AntiReplay: true, Sequence: 5, Tag: make([]byte, 16)})))
	f.Add(unhex("00000000"))
	f.Fuzz(func(t *testing.T, in []byte) {
		e := Extensions(in)
		total := 0
		for _, ext := range e.All() {
			total += len(ext)
		}
		if (e.check() == nil) != (total == len(in)) {
			t.Fatalf("check %v, but walked %d of %d bytes", e.check(), total, len(in))
		}
		for _, id := range fecIDs {
			if x, ok := e.FTI(id); ok {
				if y, ok := fti(id, x).FTI(id); !ok || x != y {
					t.Fatalf("FTI of fec_id %v: %+v, %+v", id, x, y)
				}
				if x.Check(id) == nil && (x.SegmentSize == 0 || x.MaxBlockLen == 0) {
					t.Fatalf("FTI of fec_id %v passed: %+v", id, x)
				}
			}
		}
		if x, ok := e.CC(); ok {
			if y, _ := AppendCC(nil, x).CC(); x != y {
				t.Fatalf("EXT_CC %+v, %+v", x, y)
			}
		}
		for x := range e.Auth() {
			for y := range auth(x).Auth() {
				if x.ASID != y.ASID || x.Sequence != y.Sequence || !bytes.Equal(x.Tag, y.Tag) {
					t.Fatalf("EXT_AUTH %+v, %+v", x, y)
				}
			}
		}
	})
}
