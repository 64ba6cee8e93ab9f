package session_test

import (
	"bytes"
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/udp"
)

var repairs = netip.MustParseAddrPort("239.255.1.2:6003")

// A member is a port that hears the repair group only when it is to.
type member struct {
	*port
	hears atomic.Bool
	calls atomic.Int32
	err   error // what HearRepairs returns
}

func (m *member) HearRepairs(hear bool) error {
	m.calls.Add(1)
	m.hears.Store(hear && m.err == nil)
	return m.err
}

func (m *member) ReadBatch(msgs []udp.Message) (int, error) {
	for {
		n, err := m.port.ReadBatch(msgs)
		if err != nil || msgs[0].To != repairs || m.hears.Load() {
			return n, err
		}
	}
}

// TestRepairGroup: a session joins the repair group while its receiver lacks something, and never if it lacks nothing; one that
// cannot join it is served in the session's group.
func TestRepairGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, count := &hub{}, 0
		var unlucky netip.AddrPort // guarded by net.mu
		loseAt := func(at netip.AddrPort) {
			net.mu.Lock()
			defer net.mu.Unlock()
			unlucky = at
		}
		net.lose = func(to netip.AddrPort, b []byte) bool {
			count++
			return to == unlucky && count%40 == 0
		}
		image := content(1<<20, 1)
		receiver := func(n byte, err error) (*member, *session.Session, memory) {
			m, sink, cfg := &member{port: net.open(n), err: err}, make(memory, len(image)), receiving(norm.NodeID(n))
			cfg.RepairGroup = repairs
			return m, openReceiver(t, m, cfg, sink), sink
		}
		lucky, r1, sink1 := receiver(10, nil)
		joiner, r2, sink2 := receiver(11, nil)
		loseAt(joiner.addr)
		cfg := sending(1)
		cfg.RepairGroup = repairs
		s := open(t, session.Config{Conn: net.open(1), Send: cfg})
		deliver := func(r *session.Session, sink memory) {
			t.Helper()
			if await(t, r, norm.ObjectComplete); !bytes.Equal(sink, image) {
				t.Error("content differs")
			}
			clear(sink)
		}
		send(t, s, image)
		deliver(r1, sink1)
		deliver(r2, sink2)
		if st := stats(t, s).Sender; st.Elsewhere.Datagrams == 0 || st.Elsewhere.Datagrams != st.Repairs {
			t.Errorf("%d repairs, %d of them to the repair group", st.Repairs, st.Elsewhere.Datagrams)
		}
		if lucky.calls.Load() != 0 || !joiner.hears.Load() {
			t.Errorf("who lost nothing joined %d times; who did hears the repair group: %v", lucky.calls.Load(), joiner.hears.Load())
		}
		if st := stats(t, r1).Receiver; st.Lost+st.Repairs != 0 {
			t.Errorf("who lost nothing: %+v", st)
		}
		loseAt(netip.AddrPort{})
		time.Sleep(3 * time.Second)
		if joiner.hears.Load() {
			t.Error("the repair group is not left when nothing is missing any more")
		}

		barred, r3, sink3 := receiver(12, errors.New("no more groups"))
		loseAt(barred.addr)
		send(t, s, image)
		deliver(r3, sink3)
		if st := stats(t, r3).Receiver; st.NacksSent < 4 || st.Elsewhere != 0 {
			t.Errorf("who cannot join: %+v", st)
		}
	})
}

func TestRepairGroupNeedsAConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := receiving(10)
		cfg.RepairGroup = repairs
		conn := new(hub).open(10)
		if s, err := session.Open(session.Config{Conn: conn, Receive: cfg}); err == nil {
			s.Close()
			t.Error("a Conn that cannot hear a repair group is taken for one")
		}
	})
}
