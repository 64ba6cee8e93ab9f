package session

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/multicast-upgrade/tool/norm"
)

// Whatever the order in which the parts come, and whichever of them are told, the digest is that of the file; and as far as
// nothing is missing nothing is left for the end.
func TestDigestTakesPartsInAnyOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		file := make([]byte, rng.IntN(300_000))
		for i := range file {
			file[i] = byte(rng.Uint32())
		}
		var parts []norm.Range
		for at := int64(0); at < int64(len(file)); {
			n := min(1+rng.Int64N(50_000), int64(len(file))-at)
			parts = append(parts, norm.Range{Offset: at, Length: n})
			at += n
		}
		rng.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		told := len(parts)
		if told > 0 && rng.IntN(2) == 0 {
			told = rng.IntN(told)
		}
		d := newDigest()
		for _, p := range parts[:told] {
			if err := d.add(bytes.NewReader(file), p); err != nil {
				t.Fatal(err)
			}
		}
		if told == len(parts) && (d.done != int64(len(file)) || len(d.ahead) != 0) {
			t.Errorf("%d of %d bytes hashed, %d parts left", d.done, len(file), len(d.ahead))
		}
		if got, err := d.sum(bytes.NewReader(file), int64(len(file))); err != nil || got != sha256.Sum256(file) {
			t.Errorf("wrong digest of %d bytes, %v", len(file), err)
		}
	}
}

func TestDigestOfAShortFile(t *testing.T) {
	d := newDigest()
	if _, err := d.sum(bytes.NewReader(make([]byte, 10)), 11); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v", err)
	}
}
