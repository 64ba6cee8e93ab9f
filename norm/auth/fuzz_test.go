package auth

import (
	"bytes"
	"testing"
)

// FuzzVerify holds that what was not sealed is not accepted, whatever bytes it has, and that a packet accepted once is not
// accepted again.
func FuzzVerify(f *testing.F) {
	for _, tt := range schemes {
		tx, rx := pair(f, tt.config(f))
		f.Add(seal(f, tx, probe(3, 0)))
		f.Add(seal(f, tx, data(3)))
		f.Add(seal(f, rx, nack(5)))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, tt := range schemes {
			tx, rx := pair(t, tt.config(t))
			genuine := [][]byte{seal(t, tx, probe(3, 0)), seal(t, tx, data(3)), seal(t, rx, nack(5))}
			before := bytes.Clone(in)
			err := rx.Verify(start, in)
			if !bytes.Equal(before, in) {
				t.Fatal("Verify wrote to the packet")
			}
			if err == nil && (rx.feedback.scheme != nil || in[0]&0x0f < 4) {
				found := false
				for _, pkt := range genuine {
					found = found || bytes.Equal(pkt, in)
				}
				if !found {
					t.Errorf("%s: accepted %x", tt.name, in)
				}
				if rx.Verify(start, in) == nil {
					t.Errorf("%s: accepted twice %x", tt.name, in)
				}
			}
			if err := rx.Verify(start, genuine[0]); err != nil && !bytes.Equal(in, genuine[0]) {
				t.Errorf("%s: after %x the genuine packet is refused: %v", tt.name, in, err)
			}
		}
	})
}
