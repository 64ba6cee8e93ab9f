package norm

import "testing"

func TestReceiveWithoutLoss(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := object(t, 7, 1000) // 63 symbols in 8 blocks, the last 8 bytes long
	o.info = "firmware"
	g.infoMessage(o, 0)
	for b := range uint32(o.N) {
		g.block(o, b)
	}
	g.wantReceived(o)
	g.flushAll(o)
	g.backoffs()
	g.wantNack("") // N-4.2.3.1-10
	h := g.happened(ObjectComplete)[0].Object
	if info, _ := g.Object(h); string(info.Info) != "firmware" || !info.HasInfo {
		t.Errorf("info %q", info.Info)
	}
	if g.orders[h] != int(o.N) {
		t.Errorf("%d writes for %d blocks", g.orders[h], o.N)
	}
	if s := g.Stats(); s.Decoded != 0 || s.Data != 63 || s.Lost != 0 {
		t.Errorf("%+v", s) // N-4.2.1-51
	}
}

func TestRepairByParity(t *testing.T) {
	g := newReceiverRig(t, ReceiverConfig{})
	o := object(t, 0, 1000)
	g.block(o, 0, 1, 5, 7)
	g.backoffs()
	g.wantNack("")
	for b := uint32(1); b < 8; b++ {
		g.block(o, b)
	}
	g.backoffs()
	g.wantNack("segment 0/0/8-10")
	g.repair(o, 0, 8, 9, 10)
	g.wantReceived(o)
	if s := g.Stats(); s.Decoded != 3 {
		t.Errorf("%+v", s)
	}
}
