//go:build linux

package interop

import (
	"testing"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
)

// dialectExchanges are what happens when the two readings of Reed-Solomon meet.
func dialectExchanges() []exchange {
	asMuch := fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 1024, MaxBlockLen: 8, MaxParity: 16}
	return []exchange{
		{what: "more parity than data, which does not tell the dialect: right when it is given (`--dialect nrl`)", ways: []way{
			transfer{code: asMuch, objects: []object{{kind: norm.Data, content: content(50*1024, 1)}}, lose: everyThird,
				tune: func(n *node) { n.dialect = norm.DialectNRL }}.way(nrl, ours)}},
		{what: "dialect `rfc` where NRL's receiver reads its own: **wrong content, reported as complete**", ways: []way{{"Go → NRL", wrongDialect}}},
	}
}

// wrongDialect shows why every exchange compares content: NRL's receiver rebuilds a symbol from parity of RFC 5510.
func wrongDialect(t *testing.T) {
	sent := object{kind: norm.Data, content: content(100*1024, 1)}
	x := transfer{objects: []object{sent}, lose: func() loss { return once(symbol(0, 3)) }, tune: func(n *node) { n.code.Dialect = fec.RFC }}
	r := x.network(t)
	receiver := nrl.receive(t, x.receiver(0, r.taps[1].at))
	ours.send(t, x.sender(r.taps[0].at))
	got := receiver.await(t, "completed").delivery()
	if got.Size != int64(len(sent.content)) || got == sent.delivery() {
		t.Errorf("%+v: the dialects are said to differ", got)
	}
}
