package norm

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// adviser returns one for blocks of 128 source symbols, and how to send blocks by it, whose needs and NACKs are given. The
// trials of the last 5 blocks are always open.
func adviser(parity int) (a *parityAdviser, send func(blocks int, needs func() (need, nacks int)) (unasked, asked int)) {
	v := newParityAdviser(fec.Params{MaxBlockLen: 128, MaxParity: parity})
	return &v, func(blocks int, needs func() (int, int)) (unasked, asked int) {
		for range blocks {
			t := parityTrial{sent: v.choose(128)}
			t.need = t.sent
			if need, nacks := needs(); need > t.sent {
				t.need, t.nacks = need, nacks
				asked += nacks
			}
			unasked += t.sent
			if v.try(t); len(v.open) > 5 {
				v.learn(v.open[0])
				v.open = v.open[1:]
			}
		}
		return unasked, asked
	}
}

// always returns needs that are all n, asked for by so many NACKs.
func always(n, nacks int) func() (int, int) { return func() (int, int) { return n, nacks } }

func TestUnaskedParityFollowsTheNeed(t *testing.T) {
	a, send := adviser(127)
	if n, _ := send(100, always(0, 0)); n != 0 || a.level != 0 { // N-2.1-01
		t.Errorf("%d symbols unasked in a group without loss", n)
	}
	send(trialBlocks+5, always(9, 1))
	if a.level != 9 {
		t.Errorf("level %d after %d blocks that needed 9", a.level, trialBlocks)
	}
	if _, asked := send(160, always(9, 1)); a.level != 9 || asked < 2 || asked > 5 { // only those that went with less, which are fewer and fewer
		t.Errorf("level %d, %d of 160 blocks asked for", a.level, asked)
	}
	send(200, always(3, 1))
	if a.level != 3 {
		t.Errorf("level %d when the need fell to 3", a.level)
	}
	if n, _ := send(100, always(0, 0)); a.level != 0 || n > 3*(mostRest+6) {
		t.Errorf("level %d, %d symbols unasked when the need had gone", a.level, n)
	}
	send(100, always(200, 1))
	if a.level != 64 {
		t.Errorf("level %d of a need of 200: want at most half of a block", a.level)
	}
	a, send = adviser(20)
	if send(100, always(200, 1)); a.level != 20 {
		t.Errorf("level %d, the code has 20", a.level)
	}
}

// TestUnaskedParityIsWorthIt: what blocks need now and then is not sent with each of them, unless many NACKs ask for it.
func TestUnaskedParityIsWorthIt(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	some := func(share float64, nacks int) func() (int, int) {
		return func() (int, int) {
			if rng.Float64() < share {
				return 5, nacks
			}
			return 4, nacks
		}
	}
	for _, test := range []struct {
		share float64
		nacks int
		level int // nearly always
	}{{0.5, 1, 4}, {1, 1, 5}, {0.9, 8, 5}} {
		a, send := adviser(127)
		send(100, some(test.share, test.nacks))
		at := 0
		for range 500 {
			send(1, some(test.share, test.nacks))
			if a.level == test.level {
				at++
			}
		}
		if at < 400 {
			t.Errorf("%+v: at this level in %d of 500 blocks, now %d", test, at, a.level)
		}
	}
}

// TestUnaskedParity has a sender learn from NACKs, and use it in blocks long and short.
func TestUnaskedParity(t *testing.T) {
	r := newRig(t, func(c *SenderConfig) {
		c.FEC, c.GRTT, c.MinGRTT = fec.Params{ID: fec.ReedSolomonGF8, MaxBlockLen: 16, MaxParity: 8}, 10*time.Millisecond, 10*time.Millisecond
		c.BackoffFactor, c.Rate = -1, 200e3 // a repair cycle is over when the next block is
	})
	// parity returns how many parity symbols each block of an object had unasked, while a receiver asks for two of each.
	parity := func(object, size int, lossy bool) (n []int) {
		r.enqueue(size, nil)
		for range 500 {
			r.run(20 * time.Millisecond)
			for _, m := range of[*wire.Data](r.take()) {
				id := m.PayloadID(0)
				if int(m.Object) != object || m.Flags&wire.FlagRepair != 0 {
					continue
				}
				for len(n) <= int(id.Block) {
					n = append(n, 0)
				}
				if id.Symbol >= 16 || size < 1600 && id.Symbol >= 8 {
					n[id.Block]++
				}
				if id.Symbol == 0 && id.Block > 0 && lossy && n[id.Block-1] < 2 {
					r.nackRequest(fmt.Sprintf("%d/%d/16-17", object, id.Block-1))
				}
			}
		}
		return n
	}
	n := parity(0, 60*1600, true)
	less := 0
	for _, n := range n[40:] {
		if n < 2 {
			less++
		}
	}
	if slices.Max(n) != 2 || slices.Max(n[:trialBlocks]) != 0 || less > 2 || r.Stats().Unasked != 2 { // N-2-05
		t.Errorf("parity sent unasked %v: want none at first, then two, now and then less", n)
	}
	if n := parity(1, 800, false); !slices.Equal(n, []int{1}) {
		t.Errorf("%v behind a block of half the length, want one", n)
	}
	if n := parity(2, 100*1600, false); n[99] != 0 || r.Stats().Unasked != 0 {
		t.Errorf("%v when nothing is asked for any more", n)
	}
}

// TestUnaskedParityBegins as soon as the first blocks were all asked for, with what each of them needed.
func TestUnaskedParityBegins(t *testing.T) {
	for _, test := range []struct {
		needs []int // of the first blocks; 0: not asked for
		level int
	}{
		{[]int{9, 7, 8}, 0}, {[]int{9, 7, 8, 9}, 7}, {[]int{9, 7, 0, 9, 9}, 0}, {[]int{90, 90, 90, 90, 1}, 64},
	} {
		a := newParityAdviser(fec.Params{MaxBlockLen: 128, MaxParity: 127})
		for _, need := range test.needs {
			a.try(parityTrial{need: need, nacks: min(need, 1)})
		}
		if a.begin(); a.level != test.level {
			t.Errorf("blocks that needed %v: level %d, want %d", test.needs, a.level, test.level)
		}
	}
	a := newParityAdviser(fec.Params{MaxBlockLen: 128, MaxParity: 127})
	a.set(3)
	for range firstTrials {
		a.try(parityTrial{need: 9, nacks: 1})
	}
	if a.begin(); a.level != 3 {
		t.Errorf("level %d by what happens now and then later", a.level)
	}
}
