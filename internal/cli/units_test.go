package cli

import "testing"

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "1400": 1400, "64KiB": 64 << 10, "8MiB": 8 << 20, "2GiB": 2 << 30, "20MB": 20e6, "1GB": 1e9,
	} {
		var got Size
		if err := got.Set(text); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", text, got, err, want)
		}
		if s := want.String(); s != text {
			t.Errorf("%d is written %s, want %s", want, s, text)
		}
	}
	for _, text := range []string{"", "-1", "MB", "1.5MB", "20mb", "9223372036GiB"} {
		var got Size
		if err := got.Set(text); err == nil {
			t.Errorf("%q: %d", text, got)
		}
	}
}
