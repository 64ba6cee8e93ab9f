package norm

import (
	"fmt"
	"testing"

	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// What a sender writes into EXT_FTI a receiver reads back as the same code, in each dialect, and both cut the object in the
// same way. N-5.1.1-01 B-3.1-01
func TestLayoutSurvivesFTI(t *testing.T) {
	for _, tt := range []struct {
		p    fec.Params
		last string // MaxN, NumParity
	}{
		{fec.Params{ID: fec.NoCode, MaxBlockLen: 64}, "0,0"},
		{fec.Params{ID: fec.ReedSolomonGF8, MaxBlockLen: 64, MaxParity: 32}, "96,0"},
		{fec.Params{ID: fec.ReedSolomonGF8, MaxBlockLen: 64, MaxParity: 32, Dialect: fec.NRL}, "32,0"},
		{fec.Params{ID: fec.ReedSolomon, MaxBlockLen: 64, MaxParity: 32}, "96,0"},
		{fec.Params{ID: fec.ReedSolomon, MaxBlockLen: 64, MaxParity: 32, Dialect: fec.NRL}, "32,0"},
		{fec.Params{ID: fec.SmallBlockSystematic, MaxBlockLen: 64, MaxParity: 32, Dialect: fec.NRL}, "0,32"},
	} {
		tt.p.SegmentSize = 100
		sent, err := newLayout(tt.p, 100_001)
		if err != nil {
			t.Fatal(err)
		}
		fti := sent.fti()
		if last := fmt.Sprintf("%d,%d", fti.MaxN, fti.NumParity); last != tt.last {
			t.Errorf("%v %v: last fields %s, want %s", tt.p, tt.p.Dialect, last, tt.last)
		}
		ext, err := wire.AppendFTI(nil, sent.fecID(), fti)
		if err != nil {
			t.Fatal(err)
		}
		read, _ := ext.FTI(sent.fecID())
		got, err := layoutFromFTI(sent.fecID(), read, new(remoteCode).read(DialectAuto, sent.fecID(), read), false)
		if err != nil || got.Partition != sent.Partition || got.params != sent.params {
			t.Errorf("%v %v: read back as %v %+v, %v", tt.p, tt.p.Dialect, got.params, got.Partition, err)
		}
	}
}

func TestLayoutNamesSymbols(t *testing.T) {
	for _, id := range []uint8{fec.NoCode, fec.ReedSolomon, fec.ReedSolomonGF8, fec.SmallBlockSystematic} {
		p := fec.Params{ID: id, MaxBlockLen: 8, SegmentSize: 100}
		l, err := newLayout(p, 10_000)
		if err != nil {
			t.Fatal(err)
		}
		for b := range uint32(l.N) {
			pos := l.position(7, b, 3)
			if gotB, gotSymbol := l.locate(pos); gotB != b || gotSymbol != 3 || pos.Object != 7 {
				t.Errorf("id %d: symbol 3 of block %d became %d of %d", id, b, gotSymbol, gotB)
			}
		}
	}
}

func TestLayoutRefusesAbsurdFTI(t *testing.T) {
	fti := wire.FTI{ObjectSize: 1 << 20, SegmentSize: 1000, MaxBlockLen: 64, MaxN: 96}
	for name, spoil := range map[string]func(*wire.FTI){
		"segment size 0":  func(f *wire.FTI) { f.SegmentSize = 0 },
		"block length 0":  func(f *wire.FTI) { f.MaxBlockLen = 0 },
		"2^48 bytes":      func(f *wire.FTI) { f.ObjectSize = 1 << 48 },
		"too many blocks": func(f *wire.FTI) { f.ObjectSize, f.SegmentSize, f.MaxBlockLen, f.MaxN = 1<<48-1, 1, 1, 2 },
	} {
		f := fti
		spoil(&f)
		if _, err := layoutFromFTI(wire.RS8, f, fec.RFC, false); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := layoutFromFTI(wire.RS8, wire.FTI{SegmentSize: 1, MaxBlockLen: 64, MaxN: 32}, fec.RFC, false); err == nil {
		t.Error("max_n below the block length: no error under DialectRFC")
	}
}
