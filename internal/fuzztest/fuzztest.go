// Package fuzztest lets a fuzzer look for what breaks a property.
package fuzztest

import (
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// Property has a fuzzer draw what a property is tried on, beginning with a few random streams.
func Property(f *testing.F, property func(*rapid.T)) {
	for n := range byte(8) {
		in := make([]byte, 4<<10)
		rand.NewChaCha8([32]byte{n}).Read(in)
		f.Add(in)
	}
	f.Fuzz(rapid.MakeFuzz(property))
}
