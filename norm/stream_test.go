package norm

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// Any losses, any way of writing and flushing, buffers with and without room for all: what is read is what was written, and
// what is missing was told. Block numbers and payload_offset wrap on the way. N-2-07 N-4.2.1-56 N-4.2.1-50
func TestStreamThroughLosses(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 9))
			buffer := []int{16_000, 1 + rng.IntN(2000)}[seed%2]
			first := 1<<32 - int64(rng.IntN(3000)) - 1
			p := newStreamPair(t, StreamConfig{Buffer: buffer, FirstBlock: 1<<24 - 1 - uint32(rng.IntN(20)), FirstOffset: uint32(first)},
				SenderConfig{Rate: 2e6, AutoParity: rng.IntN(3), Seed: seed}, ReceiverConfig{Seed: seed, Join: JoinStream})
			loss := 0.3 * rng.Float64()
			p.lose = func(wire.Message) bool { return rng.Float64() < loss }
			var want []byte
			for range 60 {
				b := make([]byte, rng.IntN(200))
				for i := range b {
					b[i] = byte(rng.Uint32())
				}
				want = append(want, b...)
				p.write(b)
				switch rng.IntN(4) {
				case 0:
					p.s.FlushStream(p.now, p.h, FlushPassive)
				case 1:
					p.s.FlushStream(p.now, p.h, FlushActive)
					p.run(time.Duration(rng.IntN(int(200 * time.Millisecond))))
				}
			}
			p.wantEnd()
			if buffer == 16_000 && string(p.got) != string(want) {
				t.Errorf("read %d bytes of %d, or others", len(p.got), len(want))
			}
			p.wantPieces(first, want)
		})
	}
}

// data returns the NORM_DATA that were sent.
func (p *streamPair) data() (sent []*wire.Data) {
	for _, m := range p.sent {
		if d, ok := m.(*wire.Data); ok {
			sent = append(sent, d)
		}
	}
	return sent
}

// nacks returns the requests that were made since the last call, as text.
func (p *streamPair) nacks() (asked []string) {
	for _, m := range p.sent {
		if n, ok := m.(*wire.Nack); ok {
			asked = append(asked, requests(n.Payload))
		}
	}
	p.sent = nil
	return asked
}

func count(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(7*i + 1)
	}
	return b
}

// A stream as NRL's implementation was seen to send it: 30 bytes, byte n of which is 7n+1, in segments of 16 bytes, two to
// a block, with two parity symbols over header and data.
func TestStreamOnTheWire(t *testing.T) {
	p := newStreamPair(t, StreamConfig{Buffer: 1}, SenderConfig{
		FEC: fec.Params{ID: fec.ReedSolomonGF8, MaxBlockLen: 2, MaxParity: 2, Dialect: fec.NRL}, AutoParity: 2,
	}, ReceiverConfig{})
	p.s.cfg.SegmentSize, p.s.cfg.FEC.SegmentSize = 16, 16 // below what is offered
	p.s.streams, p.s.objects = nil, nil
	var err error
	if p.h, _, err = p.s.OpenStream(p.now, StreamConfig{Buffer: 1}); err != nil {
		t.Fatal(err)
	}
	p.write(count(30))
	if err := p.s.FlushStream(p.now, p.h, FlushPassive); err != nil {
		t.Fatal(err)
	}
	p.run(100 * time.Millisecond)
	want := []string{ // N-4.2.1-57 N-4.2.1-49: the fields in all source segments, parity of their full length
		"0010 0001 00000000 01080f161d242b323940474e555c636a",
		"000e 0000 00000010 71787f868d949ba2a9b0b7bec5cc",
		"002c000300000020e1e8ef2b2059560f04bdbab36861a5be",
		"0068000500000040dcd5d26c67ded14843a7a0a92f26f2df",
	}
	sent := p.data()
	if len(sent) != len(want) {
		t.Fatalf("%d NORM_DATA", len(sent))
	}
	for i, d := range sent {
		b, _ := hex.DecodeString(string(bytes.ReplaceAll([]byte(want[i]), []byte(" "), nil)))
		if !bytes.Equal(d.Payload, b) || d.Flags != wire.FlagStream || d.PayloadID(0).Symbol != uint32(i) {
			t.Errorf("%v %x, want %s", d, d.Payload, want[i])
		}
		if fti, ok := d.Extensions.FTI(wire.RS8); !ok || fti.ObjectSize != 2*2*16 || fti.SegmentSize != 16 {
			t.Errorf("EXT_FTI %+v: want a buffer of two blocks, in segments without the 8 bytes", fti) // N-4.2.1-03
		}
	}
	if string(p.got) != string(count(30)) {
		t.Errorf("read %x", p.got)
	}
}

// The end is a segment of its own, wherever in a block it comes; nothing beyond it is asked for.
func TestStreamEnd(t *testing.T) {
	p := newStreamPair(t, StreamConfig{}, SenderConfig{BackoffFactor: -1}, ReceiverConfig{})
	p.write(count(40))
	ends := 0
	p.lose = func(m wire.Message) bool { // its first transmission is lost, as is the segment before it. N-4.2.1-61
		d, ok := m.(*wire.Data)
		if ok && d.PayloadID(0).Symbol >= 1 {
			ends++
		}
		return ok && ends <= 2
	}
	p.wantEnd()
	if string(p.got) != string(count(40)) {
		t.Errorf("read %x", p.got)
	}
	end := p.data()[2]
	if !bytes.Equal(end.Payload, []byte{0, 0, 0, 0, 0, 0, 0, 40}) || end.PayloadID(0).Symbol != 2 { // N-4.2.1-59
		t.Errorf("the end is %v %x", end, end.Payload)
	}
	if !p.happened(ObjectSent) || !p.happened(ObjectComplete) {
		t.Errorf("events %v", p.events)
	}
	p.sent = nil
	p.run(10 * time.Second)
	if asked := p.nacks(); asked != nil { // the rest of the block is not expected. N-4.2.1-60
		t.Errorf("asked for %q behind the end", asked)
	}
	if _, err := p.s.Write(p.now, p.h, count(1)); err != ErrStreamClosed {
		t.Errorf("write behind the end: %v", err)
	}
}

// What is lost of a block that was flushed before it was full is asked for segment by segment; once the sender is past the
// block, parity is.
func TestStreamFlushedInBlock(t *testing.T) {
	for _, goesOn := range []bool{false, true} {
		p := newStreamPair(t, StreamConfig{}, SenderConfig{BackoffFactor: -1}, ReceiverConfig{})
		p.lose = func(m wire.Message) bool {
			d, ok := m.(*wire.Data)
			return ok && d.PayloadID(0).Symbol == 1 && d.Flags&wire.FlagRepair == 0
		}
		p.write(count(70))
		mode := FlushActive
		if goesOn {
			mode = FlushPassive
		}
		if err := p.s.FlushStream(p.now, p.h, mode); err != nil {
			t.Fatal(err)
		}
		p.run(200 * time.Millisecond)
		want := []string{"segment 0/0/1"} // N-4.2.3.1-11 N-4.2.3.1-01
		if goesOn {
			p.write(count(70))
			p.run(time.Second)
			want = []string{"segment 0/0/4"} // N-4.2.3.1-12
		}
		for i, d := range p.data() { // every block has four segments, however short they are. N-5.1-01
			if id := d.PayloadID(0); d.Flags&wire.FlagRepair == 0 && (id.Block != uint32(i/4) || id.Symbol != uint32(i%4)) {
				t.Errorf("segment %d is %d/%d", i, id.Block, id.Symbol)
			}
		}
		if asked := p.nacks(); !slices.Equal(asked, want) {
			t.Errorf("goes on %v: asked for %q, want %q", goesOn, asked, want)
		}
		if !bytes.HasPrefix(p.got, count(70)) {
			t.Errorf("read %d bytes", len(p.got))
		}
	}
}

// Message boundaries: the first start in a segment is told, and where reading stops.
func TestStreamMessages(t *testing.T) {
	p := newStreamPair(t, StreamConfig{}, SenderConfig{}, ReceiverConfig{})
	for _, n := range []int{10, 5, 40, 32} {
		p.write(count(n))
		if err := p.s.EndMessage(p.now, p.h); err != nil { // N-4.2.1-63
			t.Fatal(err)
		}
	}
	p.wantEnd()
	type run struct {
		offset int64
		n      int
		start  bool
	}
	var got []run
	for _, piece := range p.pieces {
		if n := len(got); n > 0 && !piece.Start {
			got[n-1].n += piece.Len // reading was in smaller steps
		} else {
			got = append(got, run{piece.Offset, piece.Len, piece.Start})
		}
	}
	// Messages begin at 0, 10, 15 and 55; segments at 0, 32 and 64. N-4.2.1-65: the second and third share a segment with
	// the first, so they are not told.
	want := []run{{0, 55, true}, {55, 32, true}}
	if !slices.Equal(got, want) { // N-4.2.1-64
		t.Errorf("read %v, want %v", got, want)
	}
	var starts []uint16
	for _, d := range p.data() {
		if h, _, err := wire.ParseStreamPayload(d.Payload); err == nil && h.Len > 0 {
			starts = append(starts, h.MsgStart)
		}
	}
	if want := []uint16{1, 24, 0}; !slices.Equal(starts, want) {
		t.Errorf("payload_msg_start %v, want %v", starts, want)
	}
}

// A receiver that comes late begins with the block that is being sent, or with all that is buffered.
func TestStreamLateJoin(t *testing.T) {
	const block = 4 * 32
	for _, tt := range []struct {
		policy JoinPolicy
		want   int64 // offset of the first byte read
	}{
		{JoinCurrent, 10 * block}, {JoinObject, 10 * block}, // N-5.2-01: the block it came in is asked for from its start
		{JoinStream, (11 - 5) * block}, {JoinAll, (11 - 5) * block}, // the buffer holds six blocks
	} {
		p := newStreamPair(t, StreamConfig{Buffer: 6 * block}, SenderConfig{FlowControl: -1, BackoffFactor: -1}, ReceiverConfig{})
		p.write(count(10*block + 70))
		if err := p.s.FlushStream(p.now, p.h, FlushPassive); err != nil {
			t.Fatal(err)
		}
		p.run(time.Second)
		p.join(ReceiverConfig{Join: tt.policy})
		p.write(count(block))
		p.wantEnd()
		if first := p.pieces[0]; first.Offset != tt.want || first.Gap {
			t.Errorf("join %d: first %+v, want offset %d", tt.policy, first, tt.want)
		}
		if n := int64(len(p.got)); n != 11*block+70-tt.want {
			t.Errorf("join %d: read %d bytes", tt.policy, n)
		}
	}
}

// When the sender's buffer moves on past what was lost, it is squelched, and the receiver goes on behind it: with a break,
// and at the next message if it likes.
func TestStreamBreak(t *testing.T) {
	for _, push := range []bool{false, true} { // N-4.2.1-68: a dead receiver does not stop the sender
		p := newStreamPair(t, StreamConfig{Buffer: 1, Push: push}, SenderConfig{FlowControl: -1, BackoffFactor: -1}, ReceiverConfig{})
		const block = 4 * 32
		p.write(count(block))
		p.run(100 * time.Millisecond)
		p.lose = func(m wire.Message) bool { return true }
		p.write(count(5 * block))
		p.run(time.Second)
		p.lose = nil
		p.write(count(block))
		p.wantEnd()
		var breaks []Range
		for _, e := range p.events {
			if e.Kind == StreamBreak {
				breaks = append(breaks, e.Range)
			}
		}
		if len(breaks) != 1 || breaks[0].Offset != block || int(breaks[0].Length) != 7*block-len(p.got) {
			t.Errorf("push %v: breaks %v, read %d bytes", push, breaks, len(p.got))
		}
		gaps := 0
		for _, piece := range p.pieces {
			if piece.Gap {
				gaps++
			}
		}
		if gaps != 1 {
			t.Errorf("%d gaps", gaps)
		}
	}
}

// An application that does not read stops reception, and what had to wait is asked for when it reads; with StreamLive it
// gets the newest.
func TestStreamNotRead(t *testing.T) {
	const block = 4 * 32
	for _, live := range []bool{false, true} {
		// N-4.2.1-04: the window is what the sender announces, or less if StreamBuffer is.
		p := newStreamPair(t, StreamConfig{Buffer: 8 * block}, SenderConfig{BackoffFactor: -1},
			ReceiverConfig{StreamBuffer: 3 * 4 * (32 + 8), StreamLive: live})
		p.lazy = true
		p.write(count(8 * block))
		if err := p.s.FlushStream(p.now, p.h, FlushActive); err != nil {
			t.Fatal(err)
		}
		p.run(100 * time.Millisecond)
		if taken := p.r.pool.taken - p.r.pool.idle; taken != 3*4*(32+8) {
			t.Errorf("live %v: %d bytes held", live, taken)
		}
		p.lazy = false
		p.run(2 * time.Second)
		if live && (len(p.got) != 3*block || p.pieces[0].Offset != 5*block) {
			t.Errorf("read %d bytes, %+v", len(p.got), p.pieces)
		}
		if !live && string(p.got) != string(count(8*block)) {
			t.Errorf("read %d bytes", len(p.got))
		}
	}
}

// By option content is delivered as it comes. N-2-06
func TestStreamUnordered(t *testing.T) {
	p := newStreamPair(t, StreamConfig{}, SenderConfig{BackoffFactor: -1}, ReceiverConfig{StreamUnordered: true})
	p.lose = func(m wire.Message) bool {
		d, ok := m.(*wire.Data)
		return ok && d.PayloadID(0) == wire.PayloadID{Symbol: 1} && d.Flags&wire.FlagRepair == 0
	}
	p.write(count(6 * 32))
	if err := p.s.CloseStream(p.now, p.h); err != nil {
		t.Fatal(err)
	}
	p.run(time.Second)
	var offsets []int64
	at := 0
	for _, piece := range p.pieces {
		if !bytes.Equal(p.got[at:at+piece.Len], count(6 * 32)[piece.Offset:][:piece.Len]) {
			t.Errorf("other content at %d", piece.Offset)
		}
		at += piece.Len
		offsets = append(offsets, piece.Offset)
	}
	if want := []int64{0, 64, 96, 128, 32, 160}; !slices.Equal(offsets, want) && !slices.Equal(offsets, []int64{0, 64, 96, 128, 160, 32}) {
		t.Errorf("offsets %v, want %v", offsets, want)
	}
	if !p.happened(ObjectComplete) {
		t.Error("not complete")
	}
}

// TestStreamsForADay sends for 24 hours as much as wraps every number there is several times, with losses: sequence, object ids, source
// block numbers of 16 bits, and payload_offset. What both nodes hold stays the same, as do their timers.
func TestStreamsForADay(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	p := newStreamPair(t, StreamConfig{Buffer: 16 * 2 * 28, FirstBlock: 1<<16 - 100, FirstOffset: 1<<32 - 5000},
		SenderConfig{
			FEC: fec.Params{ID: fec.ReedSolomon, M: 16, MaxBlockLen: 2, MaxParity: 1}, SegmentSize: 28, Rate: 1800, FirstObject: 1<<16 - 2,
			GRTT: 10 * time.Millisecond, MaxGRTT: 20 * time.Millisecond, BackoffFactor: 2, MaxObjects: 3, FlowControl: 16, // segments of 28 bytes have room for one request, and receivers ask first for what was before a new stream
		}, ReceiverConfig{MaxObjects: 4, Join: JoinStream})
	p.lose = func(wire.Message) bool { return rng.IntN(100) == 0 }
	var read int64
	p.check = func(piece Piece, b []byte) {
		if piece.Gap {
			t.Errorf("a gap before %d", piece.Offset)
		}
		for i, c := range b {
			if at := piece.Offset + int64(i); c != byte(at^at>>8) {
				t.Fatalf("other content at %d", at)
			}
		}
		read += int64(len(b))
	}
	segments := 240_000
	if testing.Short() {
		segments = 70_000
	}
	const streams = 4
	var before int64
	for n := range streams {
		at := int64(1<<32 - 5000)
		if n > 0 {
			var err error
			if p.h, _, err = p.s.OpenStream(p.now, StreamConfig{Buffer: 16 * 2 * 28, FirstBlock: 1<<16 - 100, FirstOffset: 1<<32 - 5000}); err != nil {
				t.Fatal(err)
			}
		}
		var chunk [28 * 50]byte
		for range segments / streams / 50 {
			for i := range chunk {
				chunk[i] = byte(at ^ at>>8)
				at++
			}
			p.write(chunk[:])
			p.events = p.events[:0]
		}
		if n == 0 {
			before = heap()
		}
		p.check(Piece{}, nil)
		if err := p.s.CloseStream(p.now, p.h); err != nil {
			t.Fatal(err)
		}
		p.runUntil(time.Minute, func() bool { return p.happened(ObjectComplete) })
		p.run(200 * time.Millisecond)
		p.events = p.events[:0]
	}
	if after := heap(); after > before+256<<10 {
		t.Errorf("%d bytes of heap, %d at the end of the first stream", after, before)
	}
	if want := int64(segments / streams / 50 * 50 * 28 * streams); read != want {
		t.Errorf("read %d bytes of %d", read, want)
	}
	if hours := p.now.Sub(rigStart).Hours(); !testing.Short() && hours < 24 {
		t.Errorf("it took %.1f hours only", hours)
	}
	for _, o := range p.s.objects {
		if st := o.stream; st.block >= 3*o.blocks || len(o.parity.pages) > 1 {
			t.Errorf("block %d of %d, %d pages", st.block, o.blocks, len(o.parity.pages))
		}
	}
	for _, o := range p.r.objects {
		if len(o.done) > 4 || len(o.blocks) > 16 {
			t.Errorf("%d words of blocks done, %d blocks held", len(o.done), len(o.blocks))
		}
	}
}

// A request for what has left the buffer is answered by NORM_CMD(SQUELCH) with the first block held, which is where the
// receiver goes on, told of a gap.
func TestStreamSquelch(t *testing.T) {
	const block = 4 * 32
	p := newStreamPair(t, StreamConfig{Buffer: 2 * block}, SenderConfig{FlowControl: -1, BackoffFactor: -1, Rate: 100e3}, ReceiverConfig{})
	p.lose = func(m wire.Message) bool {
		d, ok := m.(*wire.Data)
		return ok && d.PayloadID(0) == wire.PayloadID{Symbol: 1}
	}
	want := count(6 * block)
	p.write(want) // as soon as there is room, so that nothing is left for repair
	p.wantEnd()
	p.wantPieces(0, want)
	var squelched []uint32
	for _, m := range p.sent {
		if q, ok := m.(*wire.Squelch); ok {
			squelched = append(squelched, q.PayloadID(0).Block)
		}
	}
	if len(squelched) != 1 || squelched[0] != 1 { // N-4.2.3.3-05
		t.Errorf("squelched up to blocks %v, want 1", squelched)
	}
	var breaks []Range
	for _, e := range p.events {
		if e.Kind == StreamBreak {
			breaks = append(breaks, e.Range)
		}
	}
	if !slices.Equal(breaks, []Range{{32, 32}}) || len(p.got) != 5*block+3*32 { // N-4.2.3.3-13 N-4.2.3.3-11
		t.Errorf("breaks %v, read %d bytes", breaks, len(p.got))
	}
}

// Under FEC Encoding ID 129 a sender may shorten a block that it flushes: its parity says how long it is, whatever the source
// symbols before it said, and what would be behind is not asked for.
func TestStreamShortenedBlock(t *testing.T) {
	p := fec.Params{ID: fec.SmallBlockSystematic, SegmentSize: 32, MaxBlockLen: 8, MaxParity: 4}
	l, err := newStreamLayout(p, 1000)
	if err != nil {
		t.Fatal(err)
	}
	ext, _ := wire.AppendFTI(nil, l.fecID(), l.fti())
	g := newReceiverRig(t, ReceiverConfig{Dialect: DialectRFC})
	var source [][]byte
	for i := range 3 {
		b, _ := wire.StreamHeader{Len: uint16(10 + i), Offset: uint32(i * 10)}.Append(nil)
		source = append(source, append(b, count(10+i)...))
	}
	segment := func(block uint32, k, esi int) {
		t.Helper()
		payload := make([]byte, l.E)
		if esi < len(source) {
			payload = source[esi]
		} else if err := l.scheme.Parity(payload, source, esi); err != nil {
			t.Fatal(err)
		}
		g.arrive(g.message(&wire.Data{Header: g.from(), SenderHeader: g.header(), Flags: wire.FlagStream,
			Position: l.positionIn(0, block, k, esi), Extensions: ext, Payload: payload}))
	}
	read := func() (n int) {
		var b [100]byte
		for {
			piece, err := g.ReadStream(g.now, g.happened(ObjectOffered)[0].Object, b[:])
			if err != nil || piece.Len == 0 {
				return n
			}
			n += piece.Len
		}
	}
	segment(0, 8, 0) // N-5.1.1-03 N-4.2.1-43: source symbols say 8, parity then 3
	segment(0, 8, 2)
	segment(0, 3, 3)
	if n := read(); n != 10+11+12 {
		t.Errorf("read %d bytes of a block that is complete with one parity symbol", n)
	}
	segment(1, 8, 0)
	segment(1, 3, 2) // N-4.2.1-44 N-4.2.3.1-14: a higher source symbol overrides, too
	segment(1, 8, 0) // and a lower one does not override it
	segment(2, 8, 0) // the sender goes on
	g.backoffs()
	g.wantNack("segment 0/1/3") // N-4.2.1-45: one erasure, of three symbols and not of eight
	segment(1, 3, 1)
	if n := read(); n != 10+11+12+10 {
		t.Errorf("read %d bytes", n)
	}
	segment(2, 3, 3) // shortens what was read in part
	segment(2, 3, 1)
	segment(3, 8, 0)
	if n := read(); n != 11+12+10 {
		t.Errorf("read %d bytes", n)
	}
}

// What a stream's header may say. Control codes that are not known are passed over in their place, segments that
// contradict themselves are dropped, and NORM_FLAG_STREAM overrides NORM_FLAG_FILE.
func TestStreamHeaders(t *testing.T) {
	p := fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 32, MaxBlockLen: 8, MaxParity: 4}
	l, err := newStreamLayout(p, 1000)
	if err != nil {
		t.Fatal(err)
	}
	ext, _ := wire.AppendFTI(nil, l.fecID(), l.fti())
	g := newReceiverRig(t, ReceiverConfig{})
	segment := func(esi int, payload string) {
		t.Helper()
		b, err := hex.DecodeString(string(bytes.ReplaceAll([]byte(payload), []byte(" "), nil)))
		if err != nil {
			t.Fatal(err)
		}
		g.arrive(g.message(&wire.Data{Header: g.from(), SenderHeader: g.header(), Flags: wire.FlagStream | wire.FlagFile,
			Position: l.position(0, 0, esi), Extensions: ext, Payload: b}))
	}
	segment(0, "0002 0001 00000000 6162")
	segment(2, "0002 0000 00000002 6566")
	malformed := g.Stats().Drops.Malformed
	segment(1, "0002 0003 00000002 6364") // a message begins behind what there is. N-4.2.1-66
	segment(1, "0003 0000 00000002 6364") // more than there is
	segment(1, "0029 0000 00000002"+string(bytes.Repeat([]byte("00"), 41)))
	if got := g.Stats().Drops.Malformed - malformed; got != 3 {
		t.Errorf("%d dropped as malformed, want 3", got)
	}
	h := g.happened(ObjectOffered)[0].Object
	if o, _ := g.Object(h); o.Kind != Stream || o.Size != 4*8*32 { // N-4.2.1-34: object_size is that of a buffer, in whole blocks
		t.Errorf("offered %+v", o)
	}
	read := func() string {
		var b [100]byte
		piece, _ := g.ReadStream(g.now, h, b[:])
		return string(b[:piece.Len])
	}
	if got := read(); got != "ab" {
		t.Errorf("read %q", got)
	}
	if got := read(); got != "" { // what is behind the code comes behind it. N-8.1.2-02
		t.Errorf("read %q ahead of a control code that is missing", got)
	}
	segment(1, "0000 0007 00000002") // N-8.1.2-01 N-4.2.1-79
	if got := read(); got != "ef" || len(g.happened(StreamBreak)) != 0 || len(g.happened(ObjectComplete)) != 0 {
		t.Errorf("read %q, %v", got, g.events)
	}
}

// More than half of the circle of block numbers could not be told from the rest. N-4.2.1-73
func TestStreamBufferIsBounded(t *testing.T) {
	for _, tt := range []struct {
		p    fec.Params
		most uint64 // blocks
	}{
		{fec.Params{ID: fec.ReedSolomon, M: 16, SegmentSize: 4, MaxBlockLen: 1, MaxParity: 1}, 1 << 15},
		{fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 4, MaxBlockLen: 1, MaxParity: 1}, 1 << 23},
	} {
		if l, err := newStreamLayout(tt.p, tt.most*4); err != nil || uint64(l.blocks) != tt.most {
			t.Errorf("id %d: %v for %d blocks", tt.p.ID, err, tt.most)
		}
		if _, err := newStreamLayout(tt.p, tt.most*4+1); err == nil {
			t.Errorf("id %d: no error for %d blocks", tt.p.ID, tt.most+1)
		}
	}
	p := newStreamPair(t, StreamConfig{}, SenderConfig{}, ReceiverConfig{})
	for _, c := range []StreamConfig{{Buffer: -1}, {Buffer: math.MaxInt32}, {FirstBlock: 1 << 24}, {Info: make([]byte, 33)}} {
		if _, _, err := p.s.OpenStream(p.now, c); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
}
