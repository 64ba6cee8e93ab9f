package upgrade

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
)

// symbolOf returns which symbol a datagram carries, if it is a NORM_DATA with FEC Encoding ID 5: object, block, symbol
// (RFC 5740, Section 4.2.1).
func symbolOf(b []byte) (object uint16, block uint32, symbol uint8, ok bool) {
	if len(b) < 20 || b[0]&0x0f != 2 {
		return 0, 0, 0, false
	}
	id := binary.BigEndian.Uint32(b[16:])
	return binary.BigEndian.Uint16(b[14:]), id >> 8, uint8(id), true
}

// sendTo sends when the agents are listening.
func (s *server) sendTo(agents ...*watcher) {
	s.t.Helper()
	for _, w := range agents {
		eventually(s.t, 10*time.Second, "reception", w.has(EventReceiving))
	}
	synctest.Wait()
	s.send(1)
}

// decideAndTell waits until the server has its decision, and tells it.
func (s *server) decideAndTell() {
	s.t.Helper()
	eventually(s.t, 10*time.Minute, "decision", s.isDecided)
	s.tellDecision()
}

func TestWrongLeafIsThrownAwayAndRequestedAgain(t *testing.T) {
	for _, test := range []struct {
		name    string
		forge   func(symbol uint8, before int) bool
		rejects func(leaves []int) bool
		byHTTP  bool
	}{
		{"once: repaired by multicast", func(symbol uint8, before int) bool { return symbol == 5 && before == 0 },
			func(leaves []int) bool { return slices.Equal(leaves, []int{0}) }, false},
		{"always: the second time by HTTP", func(uint8, int) bool { return true }, // parity as well
			func(leaves []int) bool {
				return count(leaves, 0) == 2 && count(leaves, 0)+count(leaves, 1) == len(leaves)
			}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rel := makeRelease(t, nil, testImage(300_000, 1))
				s := newServer(t, rel, commit.Policy{}, "d1")
				forged := 0
				s.net.Lose(func(_, _ netip.AddrPort, b []byte) bool {
					// Block 0 is leaf 0 and the beginning of leaf 1.
					if o, n, symbol, ok := symbolOf(b); ok && o == 1 && n == 0 && test.forge(symbol, forged) {
						b[len(b)-1] ^= 1
						forged++
					}
					return false
				})
				dir, w := t.TempDir(), new(watcher)
				a := run(t, s.config(dir, "d1", w), w)
				s.publish()
				s.sendTo(w)
				s.decideAndTell()
				eventually(t, time.Minute, "activation", w.has(EventActivated))
				if !bytes.Equal(readFile(t, dir, "current/fw0"), rel.images[0]) { // F-11-01 N-7-09
					t.Error("the image is wrong")
				}
				var rejected []int
				for _, e := range w.events {
					if e.Kind == EventLeafRejected {
						rejected = append(rejected, *e.Leaf)
					}
				}
				if !test.rejects(rejected) {
					t.Errorf("leaves %v were rejected", rejected)
				}
				if n := s.fetches[1]; (n > 0) != test.byHTTP || n > 2 {
					t.Errorf("%d requests by HTTP, want some: %v, at most one a leaf", n, test.byHTTP)
				}
				a.stop()
				s.stop()
			})
		})
	}
}

func count(leaves []int, leaf int) (n int) {
	for _, l := range leaves {
		if l == leaf {
			n++
		}
	}
	return n
}

func TestForgedHashListIsFetchedByHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rel := makeRelease(t, nil, testImage(300_000, 1))
		s := newServer(t, rel, commit.Policy{}, "d1")
		s.net.Lose(func(_, _ netip.AddrPort, b []byte) bool {
			if o, _, _, ok := symbolOf(b); ok && o == 0 {
				b[4*int(b[1])] ^= 1 // the first byte behind the header, so that parity, which is longer, is wrong as well
			}
			return false
		})
		dir, w := t.TempDir(), new(watcher)
		a := run(t, s.config(dir, "d1", w), w)
		s.publish()
		s.sendTo(w)
		s.decideAndTell()
		eventually(t, time.Minute, "activation", w.has(EventActivated))
		if s.fetches[0] == 0 || s.fetches[1] != 0 {
			t.Errorf("requests by HTTP: %v, want some for the hash list and none for the image", s.fetches)
		}
		if w.has(EventLeafRejected)() {
			t.Error("leaves were rejected although they were right")
		}
		a.stop()
		s.stop()
	})
}

func TestHashListMayComeLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rel := makeRelease(t, nil, testImage(300_000, 1))
		s := newServer(t, rel, commit.Policy{}, "d1")
		withhold := true
		s.net.Lose(func(_, _ netip.AddrPort, b []byte) bool {
			o, _, _, ok := symbolOf(b)
			return ok && o == 0 && withhold
		})
		dir, w := t.TempDir(), new(watcher)
		a := run(t, s.config(dir, "d1", w), w)
		s.publish()
		s.sendTo(w)
		time.Sleep(2 * time.Second)
		if e, ok := w.find(EventProgress); !ok || e.Bytes != 0 || w.has(EventStaged)() {
			t.Error("something was verified without hashes")
		}
		s.net.Lose(nil)
		eventually(t, 20*time.Second, "stage", w.has(EventStaged))
		if len(s.fetches) > 0 || w.has(EventLeafRejected)() {
			t.Errorf("requests by HTTP %v, a leaf rejected %v; want none", s.fetches, w.has(EventLeafRejected)())
		}
		a.stop()
		s.stop()
	})
}

func TestRestartedAgentAsksForWhatItLacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rel := makeRelease(t, nil, testImage(2_000_000, 1))
		s := newServer(t, rel, commit.Policy{}, "d1")
		dir, w := t.TempDir(), new(watcher)
		cfg := s.config(dir, "d1", w)
		a := run(t, cfg, w)
		s.publish()
		s.sendTo(w)
		half := func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return len(w.events) > 0 && w.events[len(w.events)-1].Bytes > 0
		}
		time.Sleep(150 * time.Millisecond) // of the 0.35 s that it takes
		eventually(t, time.Second, "leaf", func() bool { return half() || w.has(EventReceiving)() })
		a.stop()
		s.stop()

		again := new(watcher)
		cfg.Event = again.add
		a = run(t, cfg, again)
		s.publish()
		synctest.Wait()
		time.Sleep(time.Second)
		had, ok := again.find(EventReceiving)
		if !ok || had.Bytes == 0 || had.Bytes >= had.Total {
			t.Fatalf("begins with %d of %d bytes, want some and not all", had.Bytes, had.Total)
		}
		s.send(2) // another run of the sender
		s.decideAndTell()
		eventually(t, time.Minute, "activation", again.has(EventActivated))
		if !bytes.Equal(readFile(t, dir, "current/fw0"), rel.images[0]) {
			t.Error("the image is wrong")
		}
		a.stop()
		s.stop()
	})
}

func TestSenderRestartsAndSessionIsReissued(t *testing.T) {
	for _, moved := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			rel := makeRelease(t, nil, testImage(2_000_000, 1))
			s := newServer(t, rel, commit.Policy{}, "d1")
			dir, w := t.TempDir(), new(watcher)
			a := run(t, s.config(dir, "d1", w), w)
			s.publish()
			s.sendTo(w)
			time.Sleep(150 * time.Millisecond)
			s.stop()
			time.Sleep(3 * time.Second)
			s.sess.Serial++
			if moved {
				s.sess.Group = netip.MustParseAddrPort("239.255.1.2:6003")
			}
			s.publish()
			s.send(2)
			s.decideAndTell()
			eventually(t, time.Minute, "activation", w.has(EventActivated))
			if !bytes.Equal(readFile(t, dir, "current/fw0"), rel.images[0]) {
				t.Error("the image is wrong")
			}
			if len(s.fetches) > 0 {
				t.Errorf("requests by HTTP: %v, want none", s.fetches)
			}
			a.stop()
			s.stop()
		})
	}
}

func TestTailComesByHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rel := makeRelease(t, nil, testImage(1_000_000, 1), testImage(10, 2))
		s := newServer(t, rel, commit.Policy{}, "d1")
		s.net.Lose(func(from, _ netip.AddrPort, b []byte) bool { // half of it comes, then nothing at all
			_, n, _, ok := symbolOf(b)
			return from == serverAddr && !(ok && n < 5)
		})
		dir, w := t.TempDir(), new(watcher)
		a := run(t, s.config(dir, "d1", w), w)
		s.publish()
		s.sendTo(w)
		s.decideAndTell()
		eventually(t, 2*time.Minute, "activation", w.has(EventActivated))
		e, ok := w.find(EventFallback)
		if !ok || e.Detail == "" || e.Bytes == 0 {
			t.Errorf("fallback %+v, want one that says why, after some bytes", e)
		}
		if n := s.fetches[1]; n == 0 || n > 4 {
			t.Errorf("%d requests for the image, want 1 to 4: what came by multicast is not fetched", n)
		}
		for i, name := range []string{"current/fw0", "current/fw1"} {
			if !bytes.Equal(readFile(t, dir, name), rel.images[i]) {
				t.Errorf("%s is wrong", name)
			}
		}
		a.stop()
		s.stop()
	})
}

func TestNoMulticastAtAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rel := makeRelease(t, nil, testImage(1_000_000, 1))
		s := newServer(t, rel, commit.Policy{}, "d1")
		dir, w := t.TempDir(), new(watcher)
		a := run(t, s.config(dir, "d1", w), w)
		s.publish() // and nothing is sent
		s.decideAndTell()
		eventually(t, 2*time.Minute, "activation", w.has(EventActivated))
		if e, ok := w.find(EventTrouble); !ok || e.Group != testGroup.String() || !strings.Contains(e.Detail, "normrecv doctor --group "+testGroup.String()) {
			t.Errorf("trouble %+v, want the silent group named, and who finds out why", e)
		}
		if !bytes.Equal(readFile(t, dir, "current/fw0"), rel.images[0]) {
			t.Error("the image is wrong")
		}
		a.stop()
	})
}
