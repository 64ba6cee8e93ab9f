package wire

import (
	"bufio"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func seconds(s float64) time.Duration { return time.Duration(math.Round(s * 1e9)) }

func TestEncodeRTT(t *testing.T) { // B-3.7.4-02
	for _, tt := range []struct {
		rtt  float64
		code uint8
	}{
		{1e-6, 0x00}, {10e-6, 0x09}, {32e-6, 0x1f}, {33e-6, 0x20}, {100e-6, 0x2e}, {500e-6, 0x43}, {1e-3, 0x4c},
		{5e-3, 0x61}, {10e-3, 0x6a}, {20e-3, 0x73}, {50e-3, 0x7f}, {0.1, 0x88}, {0.2, 0x91}, {0.25, 0x94}, {0.5, 0x9d},
		{1, 0xa6}, {2, 0xaf}, {5, 0xbb}, {10, 0xc4}, {30, 0xd2}, {60, 0xdb}, {100, 0xe2}, {1000, 0xff},
		{5000, 0xff}, {0, 0x00}, {-1, 0x00}, {1e-9, 0x00}, {1.9e-6, 0x00}, {32.999e-6, 0x1f}, // B-3.7.4-01: clamped
	} {
		if got := EncodeRTT(seconds(tt.rtt)); got != tt.code {
			t.Errorf("%g s: %#02x, want %#02x", tt.rtt, got, tt.code)
		}
	}
	if EncodeRTT(math.MaxInt64) != 0xff || EncodeRTT(math.MinInt64) != 0 { // B-3.7.4-01
		t.Error("extreme durations are not clamped")
	}
	if RTTMin != time.Microsecond || RTTMax != 1000*time.Second { // B-3.7.4-01
		t.Error("bounds are not those of RFC 5401, Section 3.7.4")
	}
}

// TestDecodeRTT compares all codes with a table of 4 significant digits.
func TestDecodeRTT(t *testing.T) { // B-3.7.4-03
	f, err := os.Open("testdata/rtt.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows := 0
	for s := bufio.NewScanner(f); s.Scan(); {
		if strings.HasPrefix(s.Text(), "#") {
			continue
		}
		fields := strings.Fields(s.Text())
		code := must(strconv.ParseUint(fields[0], 0, 8))
		want := must(strconv.ParseFloat(fields[1], 64))
		got := DecodeRTT(uint8(code)).Seconds()
		lastDigit := math.Pow10(int(math.Floor(math.Log10(want*1.0000001))) - 3)
		if math.Abs(got-want) > lastDigit/2*1.0001+1e-9 { // a Duration may be 1 ns short
			t.Errorf("code %#02x: %.5g s, want %s", code, got, fields[1])
		}
		rows++
	}
	if rows != 256 {
		t.Errorf("%d codes in the table", rows)
	}
}

// formulaEncode and formulaDecode are RFC 5401, Section 3.7.4, in floating point as it stands there.
func formulaEncode(rtt float64) uint8 {
	rtt = min(max(rtt, 1e-6), 1000)
	if rtt < 33e-6 {
		return uint8(math.Floor(rtt/1e-6) - 1)
	}
	return uint8(math.Ceil(255 - 13*math.Log(1000/rtt)))
}

func formulaDecode(q uint8) float64 {
	if q <= 31 {
		return float64(q+1) * 1e-6
	}
	return 1000 / math.Exp(float64(255-q)/13)
}

// TestRTTFormula: a code is that of the formula for every value between codes, and a decoded value has
// its own code again. In floating point two codes creep up by one.
func TestRTTFormula(t *testing.T) { // B-3.7.4-04
	var creep []int // by which codes the formula, in floating point, comes to the next one; it depends on the CPU
	for q := range 256 {
		code := uint8(q)
		if got := EncodeRTT(DecodeRTT(code)); got != code {
			t.Errorf("code %d decodes to %v, which encodes to %d", code, DecodeRTT(code), got)
		}
		if code < 32 {
			continue
		}
		switch got := formulaEncode(formulaDecode(code)); got {
		case code:
		case code + 1:
			creep = append(creep, q)
		default:
			t.Errorf("code %d: the formula comes to %d", code, got)
		}
	}
	t.Logf("codes that creep up in floating point: %v", creep)
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(33_000, 1000e9).Draw(t, "ns"))
		code := EncodeRTT(d)
		up := float64(DecodeRTT(code)) / float64(d)
		if up < 1 || up > math.Exp(1.0/13) { // rounded up by at most the ratio of two codes
			t.Errorf("%v: code %d decodes to %v, %g of it", d, code, DecodeRTT(code), up)
		}
		if EncodeRTT(d+1) < code || EncodeRTT(d-1) > code {
			t.Errorf("not monotonic around %v", d)
		}
		if low := formulaEncode(d.Seconds() * (1 - 1e-12)); code < low || code > formulaEncode(d.Seconds()*(1+1e-12)) {
			t.Errorf("%v: code %d, the formula has %d", d, code, low)
		}
	})
	rapid.Check(t, func(t *rapid.T) { // below 33 µs, down to the microsecond
		d := time.Duration(rapid.Int64Range(1000, 32_999).Draw(t, "ns"))
		if got := DecodeRTT(EncodeRTT(d)); got != d.Truncate(time.Microsecond) {
			t.Errorf("%v: decoded %v", d, got)
		}
	})
}

func TestGroupSize(t *testing.T) {
	// N-4.2.1-21
	want := []float64{1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 5e1, 5e2, 5e3, 5e4, 5e5, 5e6, 5e7, 5e8}
	for code, size := range want {
		mantissa, exponent := 1.0, code&7+1
		if code&8 != 0 {
			mantissa = 5
		}
		if got := DecodeGroupSize(uint8(code)); got != size || got != mantissa*math.Pow10(exponent) {
			t.Errorf("code %#x: %g, want %g", code, got, size)
		}
		if got := EncodeGroupSize(size); got != uint8(code) {
			t.Errorf("%g: code %#x, want %#x", size, got, code)
		}
	}
	// N-4.2.1-69
	for _, tt := range []struct {
		n    float64
		code uint8
	}{
		{1, 0x0}, {10, 0x0}, {11, 0x8}, {50, 0x8}, {51, 0x1}, {100, 0x1}, {500, 0x9}, {501, 0x2}, {1000, 0x2}, {5000, 0xa},
		{10000, 0x3}, {10001, 0xb}, {50000, 0xb}, {100000, 0x4}, {1000000, 0x5}, {10000000, 0x6}, {5e8, 0xf}, {1e9, 0xf},
		{0, 0x0}, {-5, 0x0}, {math.Inf(1), 0xf},
	} {
		if got := EncodeGroupSize(tt.n); got != tt.code {
			t.Errorf("%g: code %#x, want %#x", tt.n, got, tt.code)
		}
	}
	rapid.Check(t, func(t *rapid.T) { // N-4.2.1-69: the smallest size not below n
		n := rapid.Float64Range(0, 5e8).Draw(t, "n")
		got := DecodeGroupSize(EncodeGroupSize(n))
		for _, size := range want {
			if got < n || n <= size && size < got {
				t.Errorf("%g: %g, but there is %g", n, got, size)
			}
		}
	})
}

func TestRate(t *testing.T) { // N-4.2.3.4-07
	for _, tt := range []struct {
		rate    float64
		code    uint16
		decoded float64
	}{
		{1, 0x19a0, 1.000976562}, {150, 0x2662, 149.9023438}, {1000, 0x19a3, 1000.976562}, {1200, 0x1ec3, 1201.171875},
		{8000, 0xccd3, 8000.488281}, {16000, 0x28f4, 15991.21094}, {32000, 0x51f4, 32006.83594}, // N-4.2.3.4-06
		{125000, 0x2005, 125000}, {250000, 0x4005, 250000}, {1250000, 0x2006, 1250000}, {1e7, 0x19a7, 10009765.62},
		{12.5e6, 0x2007, 12.5e6}, {125e6, 0x2008, 125e6}, {1.25e9, 0x2009, 1.25e9}, {5e10, 0x800a, 5e10},
		{9999, 0x19a4, 10009.76562}, {999999, 0x19a6, 1000976.562}, {1e15, 0x19af, 1.000976562e15}, // N-4.2.3.4-08
		{99999, 0x19a5, 100097.6562}, {0.125, 0x0330, 0.1245117188}, {0, 0, 0},
		{9.9999e15, 0xffff, 9.99755859375e15}, {1e300, 0xffff, 9.99755859375e15}, {math.Inf(1), 0xffff, 9.99755859375e15},
		{-1, 0, 0}, {math.NaN(), 0, 0}, {0.001, 0, 0},
		// The rate equation's results for some segment sizes, round-trip times and losses.
		{157265.13, 0x2845, 157226.5625}, {537381.08, 0x8995, 537353.515625}, {3540.20, 0x5aa3, 3540.0390625},
	} {
		code := EncodeRate(tt.rate)
		if code != tt.code {
			t.Errorf("%g bytes/s: %#04x, want %#04x", tt.rate, code, tt.code)
		}
		if got := DecodeRate(code); math.Abs(got-tt.decoded) > 1e-8*tt.decoded {
			t.Errorf("%#04x: %.10g bytes/s, want %.10g", code, got, tt.decoded)
		}
	}
	// Codes with a mantissa that the encoder makes are stable, and no power of ten is lost.
	for code := range 1 << 16 {
		c := uint16(code)
		if mantissa := c >> 4; mantissa < 410 {
			continue // M < 1: the encoder would take a smaller exponent
		}
		if got := EncodeRate(DecodeRate(c)); got != c {
			t.Fatalf("%#04x decodes to %g, which encodes to %#04x", c, DecodeRate(c), got)
		}
	}
	rapid.Check(t, func(t *rapid.T) { // N-4.2.3.4-08: never the zero of an overflown mantissa
		exponent := rapid.IntRange(0, 15).Draw(t, "exponent")
		rate := math.Pow10(exponent) * rapid.Float64Range(1, 9.9975).Draw(t, "M")
		if got := DecodeRate(EncodeRate(rate)); math.Abs(got-rate) > 0.00123*rate {
			t.Errorf("%g bytes/s: decoded %g", rate, got)
		}
	})
}

func TestLoss(t *testing.T) { // N-4.2.3.5-15
	for _, tt := range []struct {
		fraction float64
		code     uint16
	}{
		{0, 0}, {0.0001, 6}, {0.001, 65}, {0.01, 655}, {0.02, 1310}, {0.1, 6553}, {0.5, 32767}, {1, 65535},
		{-0.5, 0}, {1.5, 65535}, {math.NaN(), 0}, {math.Inf(1), 65535}, {1.5e-5, 0},
	} {
		if got := EncodeLoss(tt.fraction); got != tt.code {
			t.Errorf("%g: %d, want %d", tt.fraction, got, tt.code)
		}
	}
	for code := range 1 << 16 {
		if got := DecodeLoss(uint16(code)); math.Abs(got-float64(code)/65535) > 1e-12 {
			t.Fatalf("%d: %g", code, got)
		}
	}
}

func TestTimestamp(t *testing.T) {
	ts := MakeTimestamp(time.Unix(1700000000, 250_000_999))
	if ts != (Timestamp{1700000000, 250000}) {
		t.Errorf("%+v", ts)
	}
	if got := ts.Add(37500 * time.Microsecond); got != (Timestamp{1700000000, 287500}) {
		t.Errorf("+37.5 ms: %+v", got)
	}
	if got := MakeTimestamp(time.Unix(-1, 999_999_000)); got != (Timestamp{math.MaxUint32, 999999}) {
		t.Errorf("1 µs before 1970: %+v", got)
	}
	if !(Timestamp{}).IsZero() || (Timestamp{0, 1}).IsZero() || (Timestamp{1, 0}).IsZero() {
		t.Error("IsZero")
	}
	rapid.Check(t, func(t *rapid.T) { // also across the wrap of the seconds
		a := Timestamp{rapid.Uint32().Draw(t, "sec"), rapid.Uint32Range(0, 999_999).Draw(t, "usec")}
		d := time.Duration(rapid.Int64Range(-1<<50, 1<<50).Draw(t, "µs")) % (60 * 365 * 24 * 3600 * 1e6) * time.Microsecond
		b := a.Add(d)
		if b.Usec > 999_999 || b.Sub(a) != d || a.Sub(b) != -d {
			t.Errorf("%+v + %v = %+v, difference %v", a, d, b, b.Sub(a))
		}
	})
	// A hostile timestamp is far off but harmless.
	if d := (Timestamp{math.MaxUint32, math.MaxUint32}).Sub(Timestamp{1 << 31, 0}); d < 0 {
		t.Errorf("difference %v", d)
	}
}
