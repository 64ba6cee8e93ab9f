package norm

import (
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// A streamPair is a Sender and a Receiver with a network between them that loses what a test says, in virtual time.
type streamPair struct {
	testing.TB
	s      *Sender
	r      *Receiver
	now    time.Time
	h      Handle // of the stream at the sender
	in     Handle // and at the receiver
	delay  time.Duration
	flight []flying

	lose   func(m wire.Message) bool // on the way to the receiver
	lazy   bool                      // the receiver does not read
	check  func(Piece, []byte)       // takes what is read, which is not kept, and nothing else is
	pieces []Piece
	got    []byte
	sent   []wire.Message // by both
	events []Event        // of both
}

type flying struct {
	at       time.Time
	toSender bool
	b        []byte
}

func newStreamPair(t testing.TB, c StreamConfig, sc SenderConfig, rc ReceiverConfig) *streamPair {
	t.Helper()
	p := &streamPair{TB: t, now: rigStart, delay: 5 * time.Millisecond}
	sc.Node, sc.Group, sc.Instance = rigSender, rigGroup, rigInstance
	if sc.FEC.ID == 0 {
		sc.FEC = fec.Params{ID: fec.ReedSolomonGF8, MaxBlockLen: 4, MaxParity: 4}
	}
	if sc.SegmentSize == 0 {
		sc.SegmentSize = 32
	}
	if sc.GRTT == 0 {
		sc.GRTT = 20 * time.Millisecond
	}
	sc.GroupSize = 10
	var err error
	if p.s, err = NewSender(sc, p.now); err != nil {
		t.Fatal(err)
	}
	if p.h, _, err = p.s.OpenStream(p.now, c); err != nil {
		t.Fatal(err)
	}
	p.join(rc)
	return p
}

// join starts the receiver, which forgets what it was before.
func (p *streamPair) join(rc ReceiverConfig) {
	p.Helper()
	rc.Node, rc.Group = rigReceiver, rigGroup
	r, err := NewReceiver(rc)
	if err != nil {
		p.Fatal(err)
	}
	p.r, p.in, p.pieces, p.got = r, 0, nil, nil
}

// write writes all of b, waiting for room.
func (p *streamPair) write(b []byte) {
	p.Helper()
	for {
		n, err := p.s.Write(p.now, p.h, b)
		if err != nil {
			p.Fatal(err)
		}
		p.drain()
		if b = b[n:]; len(b) == 0 {
			return
		}
		p.runUntil(time.Minute, func() bool { return p.happened(StreamWritable) })
	}
}

// happened takes the events of a kind, and reports whether there were any.
func (p *streamPair) happened(kind EventKind) bool {
	n := len(p.events)
	kept := p.events[:0]
	for _, e := range p.events {
		if e.Kind != kind {
			kept = append(kept, e)
		}
	}
	p.events = kept
	return len(kept) < n
}

func (p *streamPair) drain() {
	p.Helper()
	for again := true; again; {
		again = false
		for e := range p.s.Events() {
			p.events = append(p.events, e)
		}
		for {
			b, _, ok := p.s.Poll(p.now, nil)
			if !ok {
				break
			}
			p.send(b, false)
		}
		for e := range p.r.Events() {
			again = true
			p.events = append(p.events, e)
			if e.Kind == ObjectOffered {
				p.in = e.Object
				if err := p.r.Accept(p.now, e.Object); err != nil {
					p.Fatal(err)
				}
			}
		}
		for range p.r.Requests() {
			p.Fatal("a stream asks for storage")
		}
		for {
			b, _, ok := p.r.Poll(p.now, nil)
			if !ok {
				break
			}
			p.send(b, true)
		}
		if !p.lazy {
			p.read()
		}
	}
}

// read reads all there is.
func (p *streamPair) read() {
	p.Helper()
	for p.in != 0 {
		var buf [1000]byte
		piece, err := p.r.ReadStream(p.now, p.in, buf[:])
		if err != nil || piece.Len == 0 && !piece.End {
			return
		}
		if p.check != nil {
			p.check(piece, buf[:piece.Len])
			p.pieces = p.pieces[:0]
		} else {
			p.got = append(p.got, buf[:piece.Len]...)
		}
		p.pieces = append(p.pieces, piece)
		if piece.End {
			return
		}
	}
}

func (p *streamPair) send(b []byte, toSender bool) {
	m, err := new(wire.Decoder).Parse(append([]byte(nil), b...))
	if err != nil {
		p.Fatal(err)
	}
	if p.check == nil {
		p.sent = append(p.sent, m)
	}
	if !toSender && p.lose != nil && p.lose(m) {
		return
	}
	p.flight = append(p.flight, flying{p.now.Add(p.delay), toSender, b})
}

func (p *streamPair) run(d time.Duration) { p.runUntil(d, func() bool { return false }) }

func (p *streamPair) runUntil(d time.Duration, done func() bool) {
	p.Helper()
	end := p.now.Add(d)
	for p.drain(); !done(); p.drain() {
		next := earlier(p.s.Deadline(), p.r.Deadline())
		if len(p.flight) > 0 {
			next = earlier(next, p.flight[0].at)
		}
		if next.IsZero() || next.After(end) {
			p.now = end
			return
		}
		if next.After(p.now) {
			p.now = next
		}
		for len(p.flight) > 0 && !p.flight[0].at.After(p.now) {
			f := p.flight[0]
			p.flight = p.flight[1:]
			if f.toSender {
				p.s.Handle(p.now, Datagram{From: rigPeer, To: rigGroup, B: f.b})
			} else {
				p.r.Handle(p.now, Datagram{From: rigSource, To: rigGroup, B: f.b})
				clear(f.b)
			}
			p.drain()
		}
		p.s.Advance(p.now)
		p.r.Advance(p.now)
	}
}

// wantEnd closes the stream and waits until all of it is read.
func (p *streamPair) wantEnd() {
	p.Helper()
	if err := p.s.CloseStream(p.now, p.h); err != nil {
		p.Fatal(err)
	}
	p.runUntil(time.Minute, p.ended)
	if !p.ended() {
		p.Fatalf("no end; read %d bytes; %+v; %+v", len(p.got), p.r.Stats(), p.s.Stats())
	}
}

func (p *streamPair) ended() bool { return len(p.pieces) > 0 && p.pieces[len(p.pieces)-1].End }

// wantPieces fails unless what was read is what was written at these places, and what is missing was told.
func (p *streamPair) wantPieces(first int64, want []byte) {
	p.Helper()
	at, got := first, p.got
	for _, piece := range p.pieces {
		if at == first {
			at = piece.Offset // the beginning cannot be known to be one
		}
		if piece.Offset < at || !piece.Gap && piece.Offset > at && !piece.End {
			p.Fatalf("a piece at %d behind %d, gap %v", piece.Offset, at, piece.Gap)
		}
		if piece.Len > 0 && string(got[:piece.Len]) != string(want[piece.Offset-first:][:piece.Len]) {
			p.Fatalf("other content at %d", piece.Offset)
		}
		got = got[piece.Len:]
		if piece.Len > 0 {
			at = piece.Offset + int64(piece.Len)
		}
	}
}
