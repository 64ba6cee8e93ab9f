package norm

import (
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// BenchmarkReceiver receives blocks of 64 segments of 1400 bytes, all of them or with parity for some.
func BenchmarkReceiver(b *testing.B) {
	for _, bench := range []struct {
		name     string
		erasures int
	}{{"lossless", 0}, {"erasures=1", 1}, {"erasures=8", 8}} {
		b.Run(bench.name, func(b *testing.B) {
			const k, blocks = 64, 32
			o := objectWith(b, 0, blocks*k*1400, fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 1400, MaxBlockLen: k, MaxParity: 32})
			header := wire.SenderHeader{Instance: 1, GRTT: wire.EncodeRTT(time.Second), Backoff: 4, GroupSize: 3}
			var datagrams [][]byte
			for n := range uint32(blocks) {
				for i := range k {
					m := wire.Data{Header: wire.Header{Source: rigSender}, SenderHeader: header,
						Position: o.position(0, n, i+bench.erasures), Extensions: o.extensions(), Payload: o.symbol(n, i+bench.erasures)}
					d, err := m.AppendBinary(nil)
					if err != nil {
						b.Fatal(err)
					}
					datagrams = append(datagrams, d)
				}
			}
			r, err := NewReceiver(ReceiverConfig{Node: rigReceiver, Group: rigGroup})
			if err != nil {
				b.Fatal(err)
			}
			id := TransportID(0)
			b.SetBytes(1400)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				d := datagrams[i%len(datagrams)]
				if i%len(datagrams) == 0 {
					id++
				}
				d[14], d[15] = byte(id>>8), byte(id) // one object after the other
				r.Handle(rigStart, Datagram{From: rigSource, To: rigGroup, B: d})
				for e := range r.Events() {
					if e.Kind == ObjectOffered {
						_ = r.Accept(rigStart, e.Object)
					}
				}
				for io := range r.Requests() {
					r.Complete(rigStart, io)
				}
			}
			if r.Stats().Data < uint64(b.N) {
				b.Fatalf("%+v", r.Stats())
			}
		})
	}
}
