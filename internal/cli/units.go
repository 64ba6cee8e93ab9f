package cli

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// A BitRate is a flag in bits per second: 64k, 10M, 1.5G.
type BitRate float64

// Type names the flag's value in help.
func (*BitRate) Type() string { return "bitrate" }

func (r *BitRate) String() string {
	v := float64(*r)
	for _, u := range []struct {
		name string
		unit float64
	}{{"G", 1e9}, {"M", 1e6}, {"k", 1e3}} {
		if v >= u.unit {
			return strconv.FormatFloat(v/u.unit, 'g', 4, 64) + u.name
		}
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// Set reads the flag.
func (r *BitRate) Set(s string) error {
	digits, unit := s, 1.0
	for suffix, u := range map[string]float64{"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9} {
		if d, ok := strings.CutSuffix(s, suffix); ok {
			digits, unit = d, u
		}
	}
	v, err := strconv.ParseFloat(digits, 64)
	if err != nil || !(v > 0) || math.IsInf(v*unit, 0) || v*unit < 1 || v*unit > 1e12 {
		return fmt.Errorf("want bits per second, such as 64k, 10M or 1.5G")
	}
	*r = BitRate(v * unit)
	return nil
}

// A Size is a flag in bytes: 1400, 64KiB, 8MiB, 20MB.
type Size int64

// Type names the flag's value in help.
func (*Size) Type() string { return "size" }

var sizeUnits = []struct {
	name string
	unit int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}}

func (z *Size) String() string {
	for _, u := range sizeUnits {
		if v := int64(*z); v >= u.unit && v%u.unit == 0 {
			return strconv.FormatInt(v/u.unit, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(*z), 10)
}

// Set reads the flag.
func (z *Size) Set(s string) error {
	digits, unit := s, int64(1)
	for _, u := range sizeUnits {
		if d, ok := strings.CutSuffix(s, u.name); ok {
			digits, unit = d, u.unit
		}
	}
	v, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || v < 0 || v > math.MaxInt64/unit {
		return fmt.Errorf("want bytes, such as 1400, 64KiB, 8MiB or 20MB")
	}
	*z = Size(v * unit)
	return nil
}

// HumanBytes says a number of bytes for people.
func HumanBytes(n int64) string {
	switch v := float64(n); {
	case v >= 1e9:
		return fmt.Sprintf("%.2f GB", v/1e9)
	case v >= 1e6:
		return fmt.Sprintf("%.1f MB", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%.1f kB", v/1e3)
	}
	return fmt.Sprintf("%d B", n)
}

// Count says how many there are of something for people: "1 file", "3 files".
func Count[N int | uint64](n N, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// A Duration is a flag as Go writes durations, and in days: 90m, 180d, 1d12h.
type Duration time.Duration

// Type names the flag's value in help.
func (*Duration) Type() string { return "duration" }

const day = 24 * time.Hour

func (d *Duration) String() string {
	v := time.Duration(*d)
	if v != 0 && v%day == 0 {
		return strconv.FormatInt(int64(v/day), 10) + "d"
	}
	return v.String()
}

// Set reads the flag.
func (d *Duration) Set(s string) error {
	var v time.Duration
	if days, rest, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil || n > uint64(math.MaxInt64/day) {
			return errDuration
		}
		v, s = time.Duration(n)*day, rest
	}
	if s != "" || v == 0 {
		rest, err := time.ParseDuration(s)
		if err != nil || rest > math.MaxInt64-v {
			return errDuration
		}
		v += rest
	}
	*d = Duration(v)
	return nil
}

var errDuration = errors.New("want a duration, such as 10s, 90m, 12h or 180d")
