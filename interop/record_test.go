//go:build linux

package interop

import "testing"

func record(t *testing.T, from implementation, r *relay) {}
