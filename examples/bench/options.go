package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// systemNames are what can be measured, ours first.
func systemNames() []string { return []string{"norm", "libnorm", "uftp", "udpcast"} }

func parseSystem(s string) (string, error) {
	if !slices.Contains(systemNames(), s) {
		return "", fmt.Errorf("want some of %s", strings.Join(systemNames(), ", "))
	}
	return s, nil
}

func parsePercent(s string) (float64, error) {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v >= 0 && v < 100) {
		return 0, fmt.Errorf("want percent, from 0 to below 100")
	}
	return v, nil
}

func parseSize(s string) (int64, error) {
	factor := int64(1e6)
	digits, ok := strings.CutSuffix(s, "MB")
	if !ok {
		factor = 1e9
		digits, ok = strings.CutSuffix(s, "GB")
	}
	v, err := strconv.ParseInt(digits, 10, 32)
	if !ok || err != nil || v < 1 {
		return 0, fmt.Errorf("want a size such as 20MB or 1GB")
	}
	return v * factor, nil
}
