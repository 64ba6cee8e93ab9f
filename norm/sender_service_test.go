package norm

import (
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// TestServiceWindow: with Window an object leaves the repair window by its age, and who asks for it is told. N-5.2-03
func TestServiceWindow(t *testing.T) {
	r := newRig(t, func(c *SenderConfig) { c.Service.Window = 3 * time.Second })
	old := r.enqueue(100, nil)
	pinned := r.enqueue(100, func(o *Object) { o.Pinned = true })
	r.run(time.Second)
	r.enqueue(100, nil)
	r.run(1500 * time.Millisecond)
	if _, ok := r.Object(old); !ok {
		t.Error("purged before its time")
	}
	r.run(time.Second)
	if _, ok := r.Object(old); ok {
		t.Error("still held after Window")
	}
	if _, ok := r.Object(pinned); !ok || len(r.Sender.objects) != 2 {
		t.Errorf("%d objects are held, want the pinned and the newest", len(r.Sender.objects))
	}
	r.take()
	r.nackRequest("o0")
	r.run(100 * time.Millisecond)
	if got := of[*wire.Squelch](r.take()); len(got) == 0 { // N-5.2-03 N-5.2-07
		t.Error("no NORM_CMD(SQUELCH)")
	}
	r.run(10 * time.Second)
	if len(r.Sender.objects) != 1 {
		t.Errorf("%d objects are held, want the pinned one", len(r.Sender.objects))
	}
}

// TestAccountsAreBounded: who asks under many names costs no more memory, and whoever is deepest in debt is remembered.
func TestAccountsAreBounded(t *testing.T) {
	r := newRig(t, func(c *SenderConfig) { c.Service.NodeShare = 0.1 })
	r.charge(r.now, 5, 1e9)
	for id := range NodeID(10_000) {
		r.charge(r.now, 100+id, 1)
	}
	if len(r.accounts) != maxAccounts || r.serves(r.now, 5) || !r.serves(r.now, 100) || !r.serves(r.now, 1e6) {
		t.Errorf("%d accounts; node 5 is served: %v", len(r.accounts), r.serves(r.now, 5))
	}
	if later := r.now.Add(nodeBurst * time.Second); !r.serves(later, 5) { // not shut out for good
		t.Error("node 5 is not served later")
	}
}

func TestServicePolicyIsChecked(t *testing.T) {
	for field, p := range map[string]ServicePolicy{
		"RepairShare": {RepairShare: 1.5}, "NodeShare": {NodeShare: -1}, "Window": {Window: -1},
	} {
		if _, err := p.resolve(); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: error %v", field, err)
		}
	}
}

// However many receivers come one after the other, each is served: the limit on repeats grows with time.
func TestEveryLateReceiverIsServed(t *testing.T) {
	r := repaired(t, func(c *SenderConfig) { c.Service.MaxRepeats = 2 })
	for i := range 200 {
		before := r.Stats().Repairs
		r.nackRequest("0/b0")
		r.run(5 * time.Second)
		if n := r.Stats().Repairs - before; n != 4 {
			t.Fatalf("receiver %d got %d of 4 symbols", i, n)
		}
	}
}
