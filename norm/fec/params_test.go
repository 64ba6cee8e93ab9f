package fec

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestParamsRefused(t *testing.T) {
	good := Params{ID: ReedSolomonGF8, SegmentSize: 1400, MaxBlockLen: 64, MaxParity: 32}
	for _, c := range []struct {
		name        string
		change      func(p *Params)
		unsupported bool
	}{
		{"E = 0", func(p *Params) { p.SegmentSize = 0 }, false},
		{"E = 2^16", func(p *Params) { p.SegmentSize = 1 << 16 }, false},
		{"B = 0", func(p *Params) { p.MaxBlockLen = 0 }, false},
		{"B < 0", func(p *Params) { p.MaxBlockLen = -1 }, false},
		{"B = 256", func(p *Params) { p.MaxBlockLen = 256; p.MaxParity = 0 }, false},
		{"n = 256", func(p *Params) { p.MaxParity = 192 }, false}, // "n is upper bounded by q - 1"
		{"n overflows", func(p *Params) { p.MaxParity = math.MaxInt }, false},
		{"B overflows", func(p *Params) { p.MaxBlockLen = math.MaxInt }, false},
		{"parity < 0", func(p *Params) { p.MaxParity = -1 }, false},
		{"max_n < B", func(p *Params) { *p = p.WithLastFTIField(63) }, false},
		{"129 with n = 256", func(p *Params) { p.ID = SmallBlockSystematic; p.MaxParity = 192 }, false},
		{"dialect", func(p *Params) { p.Dialect = 3 }, false},
		{"mdp with id 5", func(p *Params) { p.Dialect = MDP }, false},
		{"mdp with id 2", func(p *Params) { p.ID = ReedSolomon; p.Dialect = MDP }, false},
		{"m = 4", func(p *Params) { p.ID = ReedSolomon; p.M = 4 }, true},
		{"m = 16 with id 5", func(p *Params) { p.M = 16 }, true},
		{"m = 16 with id 129", func(p *Params) { p.ID = SmallBlockSystematic; p.M = 16 }, true},
		{"m = 16, n = 2^16", func(p *Params) { p.ID = ReedSolomon; p.M = 16; p.MaxParity = 65472 }, false},
		{"m = 16, n overflows", func(p *Params) { p.ID = ReedSolomon; p.M = 16; p.MaxParity = math.MaxInt }, false},
		{"m = 16, E odd", func(p *Params) { p.ID = ReedSolomon; p.M = 16; p.SegmentSize = 1399 }, false},
		{"G = 2", func(p *Params) { p.ID = ReedSolomon; p.G = 2 }, true},                          // R-4.1-02: one symbol in a packet
		{"129 instance 1", func(p *Params) { p.ID = SmallBlockSystematic; p.Instance = 1 }, true}, // N-4.2.1-77
		{"id 128", func(p *Params) { p.ID = 128 }, true},                                          // N-4.2.1-77
		{"id 6", func(p *Params) { p.ID = 6 }, true},                                              // N-4.2.1-77
		{"no-code with parity", func(p *Params) { p.ID = NoCode }, false},
		{"no-code, B = 2^16+1", func(p *Params) { *p = Params{SegmentSize: 1400, MaxBlockLen: 1<<16 + 1} }, false},
	} {
		p := good
		c.change(&p)
		s, err := p.Scheme()
		if err == nil || s != nil {
			t.Errorf("%s: accepted", c.name)
			continue
		}
		if errors.Is(err, errors.ErrUnsupported) != c.unsupported {
			t.Errorf("%s: %v; unsupported should be %v", c.name, err, c.unsupported)
		}
		if _, err := p.Partition(1000); err == nil {
			t.Errorf("%s: partitioned", c.name)
		}
	}
	if s, err := good.Scheme(); err != nil || s.Params().MaxParity != 32 {
		t.Errorf("the parameters all these spoil are refused: %v", err)
	}
}

// TestParamsDefaults: "When no G parameter is communicated to the decoder, then the latter MUST assume that G = 1",
// and m = 8 likewise. RFC 5510, Section 4.2.3.
func TestParamsDefaults(t *testing.T) {
	s, err := Params{ID: ReedSolomon, SegmentSize: 1400, MaxBlockLen: 64, MaxParity: 32}.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	if p := s.Params(); p.M != 8 || p.G != 1 { // R-4.2.3-01
		t.Errorf("m = %d, G = %d; want 8 and 1", p.M, p.G)
	}
}

// TestLargestObject: "max_transfer_length = 2^^(32-m) * B * E", RFC 5510, Section 4.2.2, and likewise for the others.
func TestLargestObject(t *testing.T) {
	for _, c := range []struct {
		p      Params
		length uint64
	}{
		{Params{ID: NoCode, SegmentSize: 1400, MaxBlockLen: 64}, 5872025600},                // E-3.2.1-02
		{Params{ID: ReedSolomon, SegmentSize: 1400, MaxBlockLen: 64}, 1503238553600},        // R-4.2.2-01
		{Params{ID: ReedSolomon, M: 8, SegmentSize: 1400, MaxBlockLen: 64}, 1503238553600},  // R-4.2.2-01
		{Params{ID: ReedSolomon, M: 16, SegmentSize: 1400, MaxBlockLen: 1000}, 91750400000}, // R-4.2.2-01
		{Params{ID: ReedSolomonGF8, SegmentSize: 1400, MaxBlockLen: 64}, 1503238553600},
		{Params{ID: ReedSolomonGF8, SegmentSize: 1400, MaxBlockLen: 200}, 4697620480000},
		{Params{ID: SmallBlockSystematic, SegmentSize: 3, MaxBlockLen: 4}, 12 << 32},
		{Params{ID: SmallBlockSystematic, SegmentSize: 1400, MaxBlockLen: 64}, MaxTransferLength},
	} {
		if d, err := c.p.Partition(c.length); err != nil || d.L != c.length {
			t.Errorf("%+v: %d bytes: %v", c.p, c.length, err)
		}
		if _, err := c.p.Partition(c.length + 1); err == nil {
			t.Errorf("%+v: %d bytes accepted", c.p, c.length+1)
		}
	}
}

func TestLastFTIField(t *testing.T) {
	for _, c := range []struct {
		id          uint8
		d           Dialect
		b, p, field int
	}{
		{ReedSolomonGF8, RFC, 64, 32, 96}, // R-5.2-01: max_n counts source and parity
		{ReedSolomon, RFC, 64, 32, 96},    // R-5.2-01
		{ReedSolomonGF8, NRL, 64, 32, 32},
		{ReedSolomon, NRL, 64, 32, 32},
		{SmallBlockSystematic, RFC, 64, 32, 32}, // N-4.2.1-08 N-4.2.1-09: fec_num_parity
		{SmallBlockSystematic, NRL, 64, 32, 32},
		{ReedSolomonGF8, NRL, 4, 4, 4}, // recorded: an object of 100 bytes, E = 16
		{SmallBlockSystematic, NRL, 4, 2, 2},
		{ReedSolomon, NRL, 4, 2, 2},
		{NoCode, RFC, 64, 0, 0},
	} {
		p := Params{ID: c.id, SegmentSize: 16, MaxBlockLen: c.b, MaxParity: c.p, Dialect: c.d}
		if got := p.LastFTIField(); got != c.field {
			t.Errorf("id %d %v: %d source and %d parity symbols make %d, want %d", c.id, c.d, c.b, c.p, got, c.field)
		}
		p.MaxParity = 99
		if p = p.WithLastFTIField(c.field); p.MaxParity != c.p {
			t.Errorf("id %d %v: B = %d and %d make %d parity symbols, want %d", c.id, c.d, c.b, c.field, p.MaxParity, c.p)
		}
		s, err := p.Scheme()
		if err != nil {
			t.Error(err)
		} else if n := s.Symbols(c.b); n != c.b+c.p { // N-4.2.1-08
			t.Errorf("id %d %v: a block of %d has %d symbols, want %d", c.id, c.d, c.b, n, c.b+c.p)
		}
	}
}

func TestRecogniseDialect(t *testing.T) {
	for _, c := range []struct {
		id      uint8
		b, last int
		want    Dialect
	}{
		{ReedSolomonGF8, 64, 16, NRL}, // what NRL's programs and libzmq send
		{ReedSolomonGF8, 32, 16, NRL},
		{ReedSolomonGF8, 16, 4, NRL},
		{ReedSolomonGF8, 16, 0, NRL},
		{ReedSolomon, 64, 63, NRL},
		{ReedSolomonGF8, 64, 64, RFC}, // no parity, or 64
		{ReedSolomonGF8, 64, 96, RFC},
		{ReedSolomon, 200, 255, RFC},
		{ReedSolomon, 1000, 200, NRL}, // m = 16
		{ReedSolomon, 1000, 1200, RFC},
		{SmallBlockSystematic, 64, 32, NRL},
		{SmallBlockSystematic, 64, 96, NRL},
		{NoCode, 64, 0, RFC},
	} {
		if got := RecogniseDialect(c.id, c.b, c.last); got != c.want {
			t.Errorf("id %d, B = %d, last field %d: %v, want %v", c.id, c.b, c.last, got, c.want)
		}
	}
}

func TestParseSpec(t *testing.T) {
	for spec, want := range map[string]Params{
		"rs8:64,32":      {ID: ReedSolomonGF8, MaxBlockLen: 64, MaxParity: 32},
		"rs8:255,0":      {ID: ReedSolomonGF8, MaxBlockLen: 255},
		"rs8-129:16,239": {ID: SmallBlockSystematic, MaxBlockLen: 16, MaxParity: 239, Dialect: NRL},
		"rs8-2:4,2":      {ID: ReedSolomon, MaxBlockLen: 4, MaxParity: 2},
		"rs16:1000,200":  {ID: ReedSolomon, M: 16, MaxBlockLen: 1000, MaxParity: 200},
		"rs16:65535,0":   {ID: ReedSolomon, M: 16, MaxBlockLen: 65535},
		"none":           {ID: NoCode, MaxBlockLen: 64},
		"none:1000":      {ID: NoCode, MaxBlockLen: 1000},
	} {
		got, err := ParseSpec(spec)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", spec, got, err, want)
		}
		if got.String() != spec {
			t.Errorf("%q comes back as %q", spec, got)
		}
	}
	for spec, hint := range map[string]string{
		"":                           "want none",
		"rs8":                        "rs8:K,P",
		"rs8:64":                     "rs8:K,P",
		"rs8:64,32,1":                `"32,1"`,
		"rs8:x,32":                   `"x"`,
		"rs8:0,32":                   "block length 0",
		"rs8:64,-1":                  "-1 parity",
		"rs8:200,56":                 "more than the 255",
		"rs8:99999999999999999999,1": "out of range",
		"rs16:65000,536":             "more than the 65535",
		"raptorq:64,32":              "want none",
		"none:0":                     "block length 0",
		"none:65537":                 "65536",
	} {
		if p, err := ParseSpec(spec); err == nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("%q: %+v, %v; want an error that says %q", spec, p, err, hint)
		}
	}
}

func TestDialectNames(t *testing.T) {
	for _, d := range []Dialect{RFC, NRL, MDP} {
		if got, err := ParseDialect(d.String()); got != d || err != nil {
			t.Errorf("%v comes back as %v, %v", d, got, err)
		}
	}
	if _, err := ParseDialect("auto"); err == nil {
		t.Error("auto is no dialect of a sender")
	}
}

// TestDefaultIsToldApart: whoever knows both readings of the last field of the EXT_FTI takes the default for what it is.
func TestDefaultIsToldApart(t *testing.T) {
	for _, d := range []Dialect{RFC, NRL} {
		p := Default()
		p.Dialect, p.SegmentSize = d, 1400
		last := p.LastFTIField()
		if got := RecogniseDialect(p.ID, p.MaxBlockLen, last); got != d {
			t.Errorf("%v: taken for %v", d, got)
		}
		if d == RFC && p.MaxBlockLen+last <= 255 {
			t.Errorf("max_n %d could be a parity count", last)
		}
		if _, err := p.Scheme(); err != nil {
			t.Error(err)
		}
	}
}
