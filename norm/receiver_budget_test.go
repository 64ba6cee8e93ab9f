package norm

import (
	"runtime"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// TestSegmentsCostNoAllocation receives blocks of which every one lacks a symbol that parity replaces.
func TestSegmentsCostNoAllocation(t *testing.T) {
	r, err := NewReceiver(ReceiverConfig{Node: rigReceiver, Group: rigGroup})
	if err != nil {
		t.Fatal(err)
	}
	const blocks = 2000
	o := objectWith(t, 1, blocks*8*16, fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 16, MaxBlockLen: 8, MaxParity: 4})
	header := wire.SenderHeader{Instance: 1, GRTT: wire.EncodeRTT(time.Second), Backoff: 4, GroupSize: 3}
	var datagrams [][]byte
	for n := range uint32(blocks) {
		for _, esi := range []int{0, 1, 2, 4, 5, 6, 7, 8} {
			m := wire.Data{Header: wire.Header{Source: rigSender, Sequence: wire.Sequence(len(datagrams))}, SenderHeader: header,
				Position: o.position(1, n, esi), Extensions: o.extensions(), Payload: o.symbol(n, esi)}
			b, err := m.AppendBinary(nil)
			if err != nil {
				t.Fatal(err)
			}
			datagrams = append(datagrams, b)
		}
	}
	now, i := rigStart, 0
	var out []byte
	written := int64(0)
	receive := func() {
		r.Handle(now, Datagram{From: rigSource, To: rigGroup, B: datagrams[i]})
		i++
		for e := range r.Events() {
			if e.Kind == ObjectOffered {
				if err := r.Accept(now, e.Object); err != nil {
					t.Fatal(err)
				}
			}
			written += e.Range.Length
		}
		for io := range r.Requests() {
			r.Complete(now, io)
		}
		_, _, _ = r.Poll(now, out)
		_ = r.Deadline()
	}
	for range 8 * 100 {
		receive()
	}
	if n := testing.AllocsPerRun(8*1000, receive); n != 0 {
		t.Errorf("%v allocations per segment", n)
	}
	if got := r.Stats().Decoded; got < 1000 || written < 1000*8*16 {
		t.Errorf("decoded %d symbols, wrote %d bytes", got, written)
	}
}

// TestIdleReceiverIsSmall holds the budget that lets 100,000 of them live in one process.
func TestIdleReceiverIsSmall(t *testing.T) {
	const n = 4000
	probe := wire.CC{Header: wire.Header{Source: rigSender}, SenderHeader: wire.SenderHeader{Instance: 1, GRTT: 100, Backoff: 4, GroupSize: 3},
		Extensions: wire.AppendRate(nil, wire.EncodeRate(1e6))}
	datagram, err := probe.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	all := make([]*Receiver, n)
	for i := range all {
		if all[i], err = NewReceiver(ReceiverConfig{Node: NodeID(i + 1000), Group: rigGroup}); err != nil {
			t.Fatal(err)
		}
		all[i].Handle(rigStart, Datagram{From: rigSource, To: rigGroup, B: datagram})
		for range all[i].Events() {
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if size := (after.HeapAlloc - before.HeapAlloc) / n; size > 2048 {
		t.Errorf("%d bytes per receiver that has heard a sender, want at most 2048", size)
	} else {
		t.Logf("%d bytes", size)
	}
	runtime.KeepAlive(all)
}

// TestGigabyteInLittleMemory receives 1 GiB of which every block lacks a symbol until all was sent once.
func TestGigabyteInLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("handles 780,000 datagrams")
	}
	r, err := NewReceiver(ReceiverConfig{Node: rigReceiver, Group: rigGroup})
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLayout(fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 1400, MaxBlockLen: 64, MaxParity: 32}, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	h, err := r.Expect(rigStart, Preset{Sender: rigSender, Size: 1 << 30, FEC: l.params})
	if err != nil {
		t.Fatal(err)
	}
	m := wire.Data{Header: wire.Header{Source: rigSender}, SenderHeader: wire.SenderHeader{GRTT: 200, Backoff: 4, GroupSize: 3}}
	payload, buf := make([]byte, 1400), []byte(nil)
	complete := false
	receive := func(n uint32, esi int) {
		m.Position = l.position(0, n, esi)
		m.Payload = payload
		if esi < l.BlockLen(n) {
			m.Payload = payload[:l.SymbolLen(n, esi)]
		}
		if buf, err = m.AppendBinary(buf[:0]); err != nil {
			t.Fatal(err)
		}
		r.Handle(rigStart, Datagram{From: rigSource, To: rigGroup, B: buf})
		for io := range r.Requests() {
			r.Complete(rigStart, io) // the content is of no interest here
		}
		for e := range r.Events() {
			complete = complete || e.Kind == ObjectComplete
		}
	}
	for n := range uint32(l.N) {
		for esi := range l.BlockLen(n) {
			if esi != 5 {
				receive(n, esi)
			}
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if size := after.HeapAlloc - before.HeapAlloc; size > 16<<20 {
		t.Errorf("%d bytes with %d blocks spilled, want at most 16 MiB", size, r.Stats().Spilled)
	}
	if s := r.Stats(); s.Spilled < l.N-200 || s.NoBuffer != 0 {
		t.Errorf("%+v", s)
	}
	for n := range uint32(l.N) {
		receive(n, l.BlockLen(n)+3)
	}
	if info, _ := r.Object(h); !complete || info.Received != 1<<30 {
		t.Errorf("complete %v, %+v", complete, info)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if size := int64(after.HeapAlloc - before.HeapAlloc); size > 1<<20 {
		t.Errorf("%d bytes kept when all is done", size)
	}
	runtime.KeepAlive(r)
}
