package main

import "testing"

func TestOptions(t *testing.T) {
	for s, want := range map[string]int64{"20MB": 20e6, "1GB": 1e9, "0MB": 0, "20": 0, "MB": 0, "-1MB": 0} {
		if got, err := parseSize(s); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d, %v", s, got, err)
		}
	}
	for s, ok := range map[string]bool{"0": true, "0.5": true, "100": false, "-1": false, "NaN": false} {
		if _, err := parsePercent(s); (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
	}
}
