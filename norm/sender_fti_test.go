package norm

import (
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// TestFTIPolicy looks at which messages carry EXT_FTI, and what they save without it.
func TestFTIPolicy(t *testing.T) {
	codes := map[int]fec.Params{ // by the size of EXT_FTI
		12: {ID: fec.ReedSolomonGF8, MaxBlockLen: 4, MaxParity: 4},
		16: {ID: fec.ReedSolomon, M: 16, MaxBlockLen: 4, MaxParity: 4},
	}
	for size, code := range codes {
		whole := 0 // bytes of a NORM_DATA with EXT_FTI
		for _, policy := range []FTIPolicy{FTIAlways, FTIInfo, FTINone} {
			r := newRig(t, func(c *SenderConfig) { c.FEC, c.FTI, c.AutoParity = code, policy, 1 })
			r.enqueue(800, func(o *Object) { o.Info = []byte("name") })
			r.enqueue(800, nil)
			r.run(2 * time.Second)
			infos := map[TransportID]string{}
			for _, m := range r.sent {
				switch msg := m.msg.(type) {
				case *wire.Info:
					infos[msg.Object] = string(msg.Payload)
					if _, ok := msg.Extensions.FTI(msg.FECID); ok != (policy != FTINone) { // N-4.2.1-01 N-4.2.2-01 N-4.2.1-78
						t.Errorf("policy %d: NORM_INFO with EXT_FTI: %v", policy, ok)
					}
				case *wire.Data:
					if _, ok := msg.Extensions.FTI(msg.FECID); ok != (policy == FTIAlways) { // N-4.2.1-01 N-4.2.2-01 N-4.2.1-78
						t.Errorf("policy %d: NORM_DATA with EXT_FTI: %v", policy, ok)
					}
					if policy == FTIAlways {
						whole = m.len
					} else if m.len != whole-size { // N-4.2.2-01
						t.Errorf("policy %d: NORM_DATA of %d bytes, want %d less than %d", policy, m.len, size, whole)
					}
					if want := msg.Object == 0 || policy == FTIInfo; msg.Flags&wire.FlagInfo != 0 != want {
						t.Errorf("policy %d: flags %v of object %d", policy, msg.Flags, msg.Object)
					}
				}
			}
			if _, empty := infos[1]; infos[0] != "name" || empty != (policy == FTIInfo) || infos[1] != "" {
				t.Errorf("policy %d: NORM_INFO %v", policy, infos)
			}
		}
	}
}

// TestOddSegmentsOverWords: the sender refuses what would leave half an element in each symbol.
func TestOddSegmentsOverWords(t *testing.T) {
	for _, d := range []fec.Dialect{fec.RFC, fec.NRL} {
		cfg := SenderConfig{Node: 1, Group: testGroup, SegmentSize: 1399, FEC: fec.Params{ID: fec.ReedSolomon, M: 16, MaxBlockLen: 64, MaxParity: 32, Dialect: d}}
		_, err := NewSender(cfg, time.Unix(0, 0))
		if want := "norm: SegmentSize 1399: want an even number of bytes, as the code is over GF(2^16)"; err == nil || err.Error() != want { // R-8.4-04
			t.Errorf("%v: error %v, want %q", d, err, want)
		}
	}
}
