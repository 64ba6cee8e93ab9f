package norm_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/normtest"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// TestMandatoryMessages is a session that needs every message RFC 5740, Section 3 makes mandatory, to end as it does: a
// file and data in memory, receivers that answer by unicast, one of which comes back when an object is gone.
func TestMandatoryMessages(t *testing.T) {
	const grtt = 100 * time.Millisecond
	net := normtest.New(3)
	link := normtest.Link{Delay: grtt / 2}
	s, err := net.AddSender("s", nil, normtest.Link{}, link, norm.SenderConfig{
		Node: 1, Rate: 1e6, GRTT: 2 * grtt, SegmentSize: 64, GroupSize: 10, MaxObjects: 2, FlowControl: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	var group [5]*normtest.Receiver
	for i := range group {
		cfg := norm.ReceiverConfig{Node: norm.NodeID(i + 2), Group: s.Host.Addr, Seed: uint64(i)}
		if group[i], err = net.AddReceiver(fmt.Sprint("r", i), nil, normtest.Link{}, link, cfg); err != nil {
			t.Fatal(err)
		}
	}
	sent := map[string]int{}
	net.OnSend = func(p *normtest.Packet) {
		switch m := p.Message().(type) {
		case *wire.Data:
			sent["NORM_DATA"]++
			if m.Flags&wire.FlagFile != 0 {
				sent["NORM_OBJECT_FILE"]++
			} else {
				sent["NORM_OBJECT_DATA"]++
			}
		case *wire.Flush:
			sent["NORM_CMD(FLUSH)"]++
		case *wire.Squelch:
			sent["NORM_CMD(SQUELCH)"]++
		case *wire.RepairAdv:
			sent["NORM_CMD(REPAIR_ADV)"]++
		case *wire.CC:
			sent["NORM_CMD(CC)"]++
		case *wire.Nack:
			sent["NORM_NACK"]++
		case *wire.Ack:
			sent["NORM_ACK"]++
		}
	}
	send := func(kind norm.Kind) {
		t.Helper()
		if _, _, err := s.Send(norm.Object{Kind: kind, Size: 2000}, nil); err != nil {
			t.Fatal(err)
		}
	}
	last := group[4]
	net.Drop(&normtest.Rule{Count: 1, Match: func(p *normtest.Packet) bool { return p.String() == "DATA 0/0/17" }})
	net.Drop(&normtest.Rule{Count: 9, At: []*normtest.Host{last.Host}, Match: func(p *normtest.Packet) bool {
		m, ok := p.Message().(*wire.Data)
		return ok && m.Object == 0 && m.Flags&wire.FlagRepair != 0
	}})
	send(norm.File)
	if !net.RunUntil(time.Minute, func() bool { return group[0].Completed() == 1 && group[3].Completed() == 1 }) {
		t.Fatalf("NORM_NACK and repairs did not complete the file: %v", sent)
	}
	last.Host.Detached = true
	send(norm.Data)
	send(norm.Data) // object 0 leaves the window
	net.Run(time.Second)
	last.Host.Detached = false
	send(norm.Data)
	done := net.RunUntil(time.Minute, func() bool {
		for _, r := range group[:4] {
			if r.Completed() != 4 {
				return false
			}
		}
		o := last.Object(1, 0)
		return o.Err != nil && last.Object(1, 3) != nil && last.Object(1, 3).Complete
	})
	if o := last.Object(1, 0); !done || !errors.Is(o.Err, norm.ErrSquelched) {
		t.Errorf("after %v: %v; object 0 of the last: %+v", net.Elapsed(), sent, o)
	}
	for _, name := range []string{
		"NORM_DATA", "NORM_OBJECT_FILE", "NORM_OBJECT_DATA", // N-3-01
		"NORM_CMD(FLUSH)", "NORM_CMD(SQUELCH)", "NORM_CMD(REPAIR_ADV)", "NORM_NACK", "NORM_ACK", // N-3-02
		"NORM_CMD(CC)", // N-3-03
	} {
		if sent[name] == 0 {
			t.Errorf("no %s: %v", name, sent)
		}
	}
	// FLUSH, NACK, SQUELCH and the repairs were understood, or it would not have ended so. That NORM_CMD(REPAIR_ADV) was,
	// the receivers tell, which could not hear each other; that NORM_ACK(CC) was, the GRTT, which begins at twice what it is.
	suppressed := uint64(0)
	for _, r := range group {
		suppressed += r.Core.Stats().NacksSuppressed
	}
	if stats := s.Core.Stats(); suppressed == 0 || stats.Acks == 0 || stats.GRTT >= 2*grtt {
		t.Errorf("%d NACKs suppressed; sender %+v", suppressed, stats)
	}
}
