//go:build linux

package interop

import (
	"fmt"

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
			ways: transfer{code: code, objects: sized(norm.File, code.SegmentSize, code.MaxBlockLen)[1:], lose: everyThird}.bothWays(),
		})
	}
	for _, id := range []uint8{fec.ReedSolomonGF8, fec.SmallBlockSystematic, fec.ReedSolomon} {
		code := usualCode
		code.ID = id
		rows = append(rows, exchange{
			what: fmt.Sprintf("100 segments in blocks of at most 64, both blocks short, id %d", id),
			ways: transfer{code: code, objects: []object{{norm.Data, "short blocks", content(100*1024-5, 3)}}, lose: everyThird}.bothWays(),
		})
	}
	for _, share := range []float64{0.05, 0.2} {
		rows = append(rows, exchange{
			what: "two receivers that lose " + percent(share) + " at random, each for itself",
			ways: transfer{receivers: 2, objects: []object{
				{norm.File, "image", content(1<<20, 4)}, {norm.Data, "notes", content(3000, 5)},
			}}.inNet(share),
		})
	}
	return rows
}
