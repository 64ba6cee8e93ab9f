package norm

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// FuzzStream reads a byte stream as what a hostile sender of a stream may say, in any order: blocks that jump over the whole
// circle, headers that contradict each other, parity of anything, ends, and FLUSH and SQUELCH anywhere; and as reading in
// steps of any size. The receiver keeps to its memory, reads ascending offsets, and does not panic.
func FuzzStream(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x01\x00\x10\x00\x00\x00\x01\x01\x10\x05\x20"), uint64(0))
	f.Add([]byte("\x00\x7f\xff\x01\x00\x10\x04\xff\xff\x00\x05\x20\x06\x40"), uint64(5))
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		next := func(n int) int {
			if len(in) == 0 {
				return 0
			}
			v := int(in[0])
			in = in[1:]
			return v % n
		}
		r, err := NewReceiver(ReceiverConfig{
			Node: rigReceiver, Group: rigGroup, Join: JoinPolicy(seed % 4), StreamLive: seed&4 != 0, StreamUnordered: seed&8 != 0,
			Buffer: 4 * 4 * 24, StreamBuffer: 3 * 4 * 24, Seed: seed,
		})
		if err != nil {
			t.Fatal(err)
		}
		p := fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 16, MaxBlockLen: 4, MaxParity: 4}
		if seed&16 != 0 {
			p.ID = fec.SmallBlockSystematic
		}
		l, err := newStreamLayout(p, uint64(64*(2+seed>>8%10)))
		if err != nil {
			t.Fatal(err)
		}
		ext, err := wire.AppendFTI(nil, l.fecID(), l.fti())
		if err != nil {
			t.Fatal(err)
		}
		now := rigStart
		header := wire.SenderHeader{GRTT: 100, Backoff: 4}
		send := func(m wire.Message) {
			b, err := m.AppendBinary(nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Handle(now, Datagram{From: rigSource, B: b})
			clear(b)
		}
		var handle Handle
		number, ended, at := uint32(0), false, int64(-1)
		for len(in) > 0 {
			what := next(9)
			switch next(8) {
			case 0:
				number += 1 << next(31)
			case 1:
				number -= uint32(next(8))
			case 2, 3, 4:
				number += uint32(next(3))
			}
			number &= l.blockMask()
			l.base = number
			position := l.position(0, 0, next(9))
			switch what {
			case 0, 1, 2:
				payload := make([]byte, next(26))
				if len(payload) >= 8 {
					h := wire.StreamHeader{Len: uint16(len(payload) - 8), MsgStart: uint16(next(12)), Offset: uint32(next(256) << next(25))}
					binary.BigEndian.PutUint16(payload, h.Len)
					binary.BigEndian.PutUint16(payload[2:], h.MsgStart)
					binary.BigEndian.PutUint32(payload[4:], h.Offset)
				}
				flags := wire.FlagStream
				if next(9) == 0 {
					flags = wire.Flags(next(64))
				}
				send(&wire.Data{Header: wire.Header{Source: 1}, SenderHeader: header, Flags: flags, Position: position, Extensions: ext, Payload: payload})
			case 3:
				send(&wire.Flush{Header: wire.Header{Source: 1}, SenderHeader: header, Position: position})
			case 4:
				send(&wire.Squelch{Header: wire.Header{Source: 1}, SenderHeader: header, Position: position})
			case 5, 6:
				b := make([]byte, next(64))
				piece, err := r.ReadStream(now, handle, b)
				if err != nil && err != ErrUnknownObject {
					t.Fatal(err)
				}
				if piece.Len > 0 && (ended || piece.Offset < at && seed&8 == 0) {
					t.Fatalf("read %+v behind %d, ended %v", piece, at, ended)
				}
				ended = ended || piece.End
				at = max(at, piece.Offset+int64(piece.Len))
			case 7:
				now = now.Add(time.Duration(next(256)) * 20 * time.Millisecond)
				r.Advance(now)
			case 8:
				send(&wire.Info{Header: wire.Header{Source: 1}, SenderHeader: header, Flags: wire.FlagStream, FECID: l.fecID(), Extensions: ext})
			}
			for e := range r.Events() {
				switch {
				case e.Kind == ObjectOffered:
					handle, ended, at = e.Object, false, -1
					_ = r.Accept(now, handle)
				case e.Kind == StreamBreak && (e.Range.Length < 0 || e.Range.Offset < 0):
					t.Fatalf("%+v", e)
				}
			}
			for ok := true; ok; {
				_, _, ok = r.Poll(now, nil)
			}
			for _, o := range r.objects {
				if st := o.stream; st != nil {
					if len(o.blocks) > int(max(st.window, 1)) || len(o.done) > 8 {
						t.Fatalf("%d blocks held, %d words of blocks done", len(o.blocks), len(o.done))
					}
					held := 0
					for _, b := range o.blocks {
						held += len(b.buf)
						if b.number < st.block || b.number >= st.block+st.window || b.held > b.k {
							t.Fatalf("block %d of %d+%d, %d symbols held", b.number, st.block, st.window, b.held)
						}
					}
					if st.block > 1<<30 || held > r.pool.taken-r.pool.idle {
						t.Fatalf("at block %d, %d bytes held", st.block, held)
					}
				}
			}
			if r.pool.taken > r.cfg.Buffer {
				t.Fatalf("%d bytes taken", r.pool.taken)
			}
		}
	})
}
