package upgrade

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/merkle"
	"github.com/multicast-upgrade/tool/norm/session"
)

// fetched returns how many bytes the agent says have come.
func (w *watcher) fetched() (n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		n = max(n, e.Fetched)
	}
	return n
}

// A device is killed when so many datagrams of the image have come to it, and goes on from what is on its disk: its
// directory as it is at that instant. Whenever that is, what came twice is the block that was being received and the part of
// a leaf before it, as nothing is lost.
func TestKilledAgentFetchesWhatWasUnderWay(t *testing.T) {
	const size = 2_000_000
	symbols := size/1400 + 1
	for percent := 2; percent < 100; percent += 8 {
		t.Run(fmt.Sprint(percent), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rel := makeRelease(t, nil, testImage(size, 1))
				s := newServer(t, rel, commit.Policy{}, "d1")
				var came atomic.Int64
				s.net.Lose(func(_, _ netip.AddrPort, b []byte) bool {
					o, _, _, ok := symbolOf(b)
					if int(came.Load()) == symbols*percent/100 {
						return true // killed
					}
					if ok && o == 1 {
						came.Add(1)
					}
					return false
				})
				dir, w := t.TempDir(), new(watcher)
				a := run(t, s.config(dir, "d1", w), w)
				s.publish()
				s.sendTo(w)
				eventually(t, time.Minute, "end of the first life", func() bool { return int(came.Load()) == symbols*percent/100 })
				left := t.TempDir()
				if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
					t.Fatal(err)
				}
				a.stop()
				s.stop()

				s.net.Lose(nil)
				again := new(watcher)
				a = run(t, s.config(left, "d1", again), again)
				s.publish()
				s.sendTo(again)
				s.decideAndTell()
				eventually(t, time.Minute, "activation", again.has(EventActivated))
				if !bytes.Equal(readFile(t, left, "current/fw0"), rel.images[0]) {
					t.Error("the image is wrong")
				}
				first, second := came.Load()*1400, again.fetched()
				block := int64(s.sess.FEC.BlockSize) * 1400
				t.Logf("%d bytes came, then %d", first, second)
				if twice := first + second - size; twice > block+merkle.MinLeafSize {
					t.Errorf("%d bytes came, then %d: %d twice, want at most a block and a leaf, %d", first, second, twice, block+merkle.MinLeafSize)
				}
				if had, _ := again.find(EventReceiving); had.Bytes+block+merkle.MinLeafSize < first {
					t.Errorf("%d bytes had come, it goes on with %d", first, had.Bytes)
				}
				a.stop()
				s.stop()
			})
		})
	}
}

// A device is given another address in mid-transfer: it joins the group with a new socket, and goes on.
func TestDeviceWithAnotherAddressJoinsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 2_000_000
		rel := makeRelease(t, nil, testImage(size, 1))
		s := newServer(t, rel, commit.Policy{}, "d1")
		dir, w := t.TempDir(), new(watcher)
		cfg := s.config(dir, "d1", w)
		var at atomic.Int64
		var joins atomic.Int64
		address := func() netip.AddrPort {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 2, byte(at.Load())}), 6003)
		}
		cfg.Conn = func(*manifest.Session) (session.Conn, error) {
			joins.Add(1)
			return s.net.Open(address()), nil
		}
		cfg.attachment = func(*manifest.Session) string {
			if at.Load() < 0 {
				return "" // between two addresses
			}
			return address().String()
		}
		s.net.Lose(func(_, to netip.AddrPort, _ []byte) bool {
			return to.Addr().Is4() && to != address() && to != serverAddr
		})
		a := run(t, cfg, w)
		s.publish()
		s.sendTo(w)
		time.Sleep(150 * time.Millisecond) // of the 0.35 s that it takes
		at.Store(-1)
		time.Sleep(3 * time.Second)
		at.Store(7)
		s.decideAndTell()
		eventually(t, time.Minute, "activation", w.has(EventActivated))
		if !bytes.Equal(readFile(t, dir, "current/fw0"), rel.images[0]) {
			t.Error("the image is wrong")
		}
		if joins.Load() != 2 || w.has(EventFallback)() || len(s.fetches) > 0 {
			t.Errorf("%d joins, fetched by HTTP: %v", joins.Load(), s.fetches)
		}
		if limit := int64(size + 3*64*1400); w.fetched() > limit {
			t.Errorf("%d bytes came, want at most %d", w.fetched(), limit)
		}
		a.stop()
		s.stop()
	})
}
