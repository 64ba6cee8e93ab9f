//go:build linux

package interop

import (
	"fmt"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
)

// sized are objects of the sizes at which something changes, for segments of e bytes in blocks of b.
func sized(kind norm.Kind, e, b int) (objects []object) {
	for i, n := range []int{0, 1, e, e + 1, b * e, 100 * e} {
		objects = append(objects, object{kind: kind, info: fmt.Sprintf("size-%d", n), content: content(n, byte(i))})
	}
	return objects
}

// codes are the codes that both implementations have, with E = 512.
var codes = []fec.Params{
	{ID: fec.ReedSolomonGF8, SegmentSize: 512, MaxBlockLen: 16, MaxParity: 8},
	{ID: fec.SmallBlockSystematic, SegmentSize: 512, MaxBlockLen: 16, MaxParity: 8},
	{ID: fec.ReedSolomon, M: 8, SegmentSize: 512, MaxBlockLen: 16, MaxParity: 8},
	{ID: fec.ReedSolomon, M: 16, SegmentSize: 512, MaxBlockLen: 250, MaxParity: 10}, // libnorm takes m = 16 for more than 255 symbols
}

// codeName is a code as the document calls it.
func codeName(p fec.Params) string {
	if p.ID == fec.ReedSolomon {
		return fmt.Sprintf("id 2, m = %d, %d+%d", p.M, p.MaxBlockLen, p.MaxParity)
	}
	return fmt.Sprintf("id %d, %d+%d", p.ID, p.MaxBlockLen, p.MaxParity)
}

func objectExchanges() (rows []exchange) {
	for _, code := range codes {
		rows = append(rows, exchange{
			what: "files of 0 B (INFO only), 1, E, E+1, B·E and 100·E, " + codeName(code),
			ways: transfer{code: code, objects: sized(norm.File, code.SegmentSize, code.MaxBlockLen)}.bothWays(),
		})
	}
	return append(rows,
		exchange{
			what: "data objects of 0 B (INFO only), 1, E, E+1, B·E and 100·E",
			ways: transfer{objects: sized(norm.Data, usualCode.SegmentSize, usualCode.MaxBlockLen)}.bothWays(),
		},
		exchange{
			what: "data over IPv6, 5 % loss",
			ways: transfer{group: multicast6, objects: sized(norm.Data, 1024, 64)}.inNet(0.05),
		},
	)
}
