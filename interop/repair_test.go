//go:build linux

package interop

import (
	"fmt"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
)

func repairExchanges() (rows []exchange) {
	for _, parity := range []int{0, 4, 16} {
		code := usualCode
		code.MaxParity = parity
		rows = append(rows, exchange{
			what: fmt.Sprintf("every third packet lost, %d parity symbols", parity),
			ways: transfer{code: code, objects: sized(norm.Data, 1024, 64), lose: everyThird}.bothWays(),
		})
	}
	for _, code := range codes {
		rows = append(rows, exchange{
			what: "every third packet lost, " + codeName(code),
			ways: transfer{code: code, objects: sized(norm.File, code.SegmentSize, code.MaxBlockLen), lose: everyThird}.bothWays(),
		})
	}
	for _, code := range shortBlockCodes {
		rows = append(rows, exchange{
			what: "100 segments in two blocks, both short, every third packet lost, " + codeName(code),
			ways: transfer{code: code, objects: []object{{kind: norm.Data, info: "short blocks", content: content(100*1024-5, 3)}}, lose: everyThird}.bothWays(),
		})
	}
	const e = 1024
	gf16 := fec.Params{ID: fec.ReedSolomon, M: 16, SegmentSize: e, MaxBlockLen: 240, MaxParity: 20}
	odd := gf16
	odd.SegmentSize--
	rows = append(rows,
		exchange{
			what: "300 segments in two blocks, both short, every third packet lost, " + codeName(gf16),
			ways: transfer{code: gf16, objects: []object{{kind: norm.Data, info: "short blocks", content: content(300*e-4, 3)}}, lose: everyThird}.bothWays(),
		},
		exchange{
			what: "segments of an odd number of bytes, which m = 16 cannot mend, every third packet lost",
			ways: []way{transfer{code: odd, objects: []object{{kind: norm.Data, content: content(100*e, 3)}}, lose: everyThird}.way(nrl, ours)},
		})
	for _, row := range []struct {
		what    string
		objects []object
		lose    func() loss
	}{
		{"only the last packet lost", []object{{kind: norm.Data, content: content(100*e-5, 6)}}, func() loss { return once(symbol(1, 49)) }},
		{"only the NORM_INFO lost", []object{{kind: norm.File, info: "file.name", content: content(100*e, 7)}}, func() loss { return once(infoOf(0)) }},
		{"a whole block lost", []object{{kind: norm.Data, content: content(3*64*e, 8)}}, func() loss { return once(sourceOf(1, 64)) }},
		{"a whole object lost", []object{{kind: norm.Data, info: "a", content: content(5*e, 1)}, {kind: norm.Data, info: "b", content: content(70*e, 2)}, {kind: norm.Data, info: "c", content: content(5*e, 3)}},
			func() loss { return once(objectOf(1)) }},
		{"150 packets in a row lost", []object{{kind: norm.Data, info: "a", content: content(300*e, 9)}}, func() loss { return between(30, 180) }},
	} {
		rows = append(rows, exchange{what: row.what, ways: transfer{objects: row.objects, lose: row.lose}.bothWays()})
	}
	rows = append(rows, exchange{what: "two receivers that lose different packets of a block: one parity symbol serves both", ways: sharedRepair().bothWays()})
	for _, share := range []float64{0.05, 0.2} {
		rows = append(rows, exchange{
			what: "two receivers that lose " + percent(share) + " at random, each for itself",
			ways: transfer{receivers: 2, objects: []object{
				{kind: norm.File, info: "image", content: content(1<<20, 4)}, {kind: norm.Data, info: "notes", content: content(3000, 5)},
			}}.inNet(share),
		})
	}
	return rows
}

// shortBlockCodes are codes whose blocks hold up to 64 symbols, so that 100 make two blocks of 50.
var shortBlockCodes = []fec.Params{
	usualCode,
	{ID: fec.SmallBlockSystematic, SegmentSize: 1024, MaxBlockLen: 64, MaxParity: 16},
	{ID: fec.ReedSolomon, M: 8, SegmentSize: 1024, MaxBlockLen: 64, MaxParity: 16},
}

// sharedRepair is one block, of which each of two receivers lacks another symbol, with a GRTT long enough that the sender
// hears of both before it answers.
func sharedRepair() transfer {
	const symbols = 40
	return transfer{
		receivers: 2,
		objects:   []object{{kind: norm.Data, content: content(symbols*1024, 1)}},
		tune:      func(n *node) { n.grtt, n.backoff = 100*time.Millisecond, 4 },
		lose: func() loss {
			one, other := loss(once(symbol(0, 3))).to(1), loss(once(symbol(0, 30))).to(2)
			return func(p packet) bool { return one(p) || other(p) }
		},
		look: func(t *testing.T) (func(packet, bool), func()) {
			sent := 0
			see := func(p packet, _ bool) {
				if m, ok := p.data(); ok && p.to == 1 && at(m).Symbol >= symbols {
					sent++
				}
			}
			return see, func() {
				if sent != 1 {
					t.Errorf("%d parity symbols sent for one loss at each of two receivers", sent)
				}
			}
		},
	}
}
