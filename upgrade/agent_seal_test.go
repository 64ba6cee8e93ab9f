package upgrade

import (
	"bytes"
	"cmp"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/commit/disk/diskfault"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/seal"
)

// testGroupKey is that of the group that test devices belong to.
var testGroupKey = newIdentity()

func newIdentity() *manifest.Identity {
	k, err := manifest.GenerateIdentity()
	if err != nil {
		panic(err)
	}
	return k
}

// makeSealedRelease is makeRelease with each image sealed.
func makeSealedRelease(t testing.TB, change func(*manifest.Manifest), images ...[]byte) *testRelease {
	t.Helper()
	var keys []manifest.FileKey
	var sealed []*manifest.Sealed
	var sent [][]byte
	for _, plain := range images {
		var b bytes.Buffer
		key, s, err := seal.Encrypt(&b, bytes.NewReader(plain))
		if err != nil {
			t.Fatal(err)
		}
		keys, sealed, sent = append(keys, key), append(sealed, s), append(sent, b.Bytes())
	}
	rel := makeRelease(t, func(m *manifest.Manifest) {
		for i := range m.Images {
			m.Images[i].Sealed = sealed[i]
		}
		if change != nil {
			change(m)
		}
	}, sent...)
	rel.keys = keys
	return rel
}

// sealTo gives groups the file keys, in the session description.
func (s *server) sealTo(groups ...*manifest.Identity) {
	s.t.Helper()
	for _, k := range groups {
		s.sess.Wraps = append(s.sess.Wraps, manifest.Wrap{To: k.Recipient().ID(), Keys: s.wrap(k.Recipient(), s.sess.Campaign, s.sess.Manifest, s.rel.keys)})
	}
}

func (s *server) wrap(to manifest.Recipient, campaign manifest.CampaignID, release manifest.Digest, keys []manifest.FileKey) []byte {
	s.t.Helper()
	wrap, err := to.Wrap(campaign, release, keys)
	if err != nil {
		s.t.Fatal(err)
	}
	return wrap
}

// unsealing is the config of a device that belongs to groups.
func (s *server) unsealing(dir string, w *watcher, groups ...*manifest.Identity) AgentConfig {
	cfg := s.config(dir, "d1", w)
	cfg.Unsealer, cfg.SealKeys = seal.Unsealer{}, groups
	return cfg
}

// TestSealedImagesAreActivatedAsPlaintext: what is received is the ciphertext, what stands in DIR/current the image.
func TestSealedImagesAreActivatedAsPlaintext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		images := [][]byte{testImage(200_000, 1), testImage(70_000, 2)}
		rel := makeSealedRelease(t, nil, images...)
		s := newServer(t, rel, commit.Policy{}, "d1")
		s.sealTo(newIdentity(), testGroupKey)
		dir, w := t.TempDir(), new(watcher)
		a := run(t, s.unsealing(dir, w, newIdentity(), testGroupKey), w)
		s.publish()
		eventually(t, time.Minute, "reception", w.has(EventReceiving))
		s.send(1)
		eventually(t, time.Minute, "READY", w.has(EventReady))
		stage := stageDir(rel.m.Digest())
		for i, name := range []string{"fw0", "fw1"} {
			if b := readFile(t, dir, imageName(stage, name)); !bytes.Equal(b, images[i]) {
				t.Errorf("%s: %d bytes are staged, want the image", name, len(b))
			}
			if b := readFile(t, dir, sealedName(stage, name)); !bytes.Equal(b, rel.images[i]) {
				t.Errorf("%s: %d bytes stay of what was received", name, len(b))
			}
		}
		s.decideAndTell()
		eventually(t, time.Minute, "activation", w.has(EventActivated))
		for i, name := range []string{"fw0", "fw1"} {
			if b := readFile(t, dir, "current/"+name); !bytes.Equal(b, images[i]) {
				t.Errorf("%s: %d bytes are activated, want the image", name, len(b))
			}
		}
		a.stop()
		s.stop()
	})
}

// TestAbortRemovesThePlaintext: what is left of an aborted campaign is the ciphertext, from which the next one begins.
func TestAbortRemovesThePlaintext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rel := makeSealedRelease(t, nil, testImage(200_000, 1))
		s := newServer(t, rel, commit.Policy{Deadline: time.Now().Add(time.Hour).Truncate(time.Second), Ask: true}, "d1")
		s.sealTo(testGroupKey)
		dir, w := t.TempDir(), new(watcher)
		cfg := s.unsealing(dir, w, testGroupKey)
		cfg.Conn = noMulticast
		a := run(t, cfg, w)
		s.publish()
		eventually(t, 5*time.Minute, "READY", w.has(EventReady))
		s.mu.Lock()
		err := s.c.Abort(time.Now(), 0)
		s.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		s.publish()
		eventually(t, 5*time.Minute, "ABORT", w.has(EventAborted))
		a.stop()
		stage := stageDir(rel.m.Digest())
		for _, name := range []string{imageName(stage, "fw0"), partName(stage, "fw0")} {
			if b := readFile(t, dir, name); b != nil {
				t.Errorf("%s is there after ABORT", name)
			}
		}
		if b := readFile(t, dir, sealedName(stage, "fw0")); !bytes.Equal(b, rel.images[0]) {
			t.Error("what was received is gone")
		}
	})
}

// TestAttackSealedReleaseIsRefusedBeforeReception goes through all that opens nothing. The device says NO at once, and has
// asked for no byte of an image.
func TestAttackSealedReleaseIsRefusedBeforeReception(t *testing.T) {
	otherKeys := []manifest.FileKey{{1}}
	for name, tt := range map[string]struct {
		groups []*manifest.Identity // of the device
		change func(s *server, cfg *AgentConfig)
		want   commit.Reason
	}{
		"no key at all":        {nil, func(s *server, _ *AgentConfig) { s.sealTo(testGroupKey) }, commit.ReasonNoKey},
		"key of another group": {[]*manifest.Identity{newIdentity()}, func(s *server, _ *AgentConfig) { s.sealTo(testGroupKey) }, commit.ReasonNoKey},
		"wraps taken away":     {[]*manifest.Identity{testGroupKey}, func(*server, *AgentConfig) {}, commit.ReasonNoKey},
		"wrap of another campaign": {[]*manifest.Identity{testGroupKey}, func(s *server, _ *AgentConfig) {
			wrap := s.wrap(testGroupKey.Recipient(), manifest.CampaignID{99}, s.sess.Manifest, s.rel.keys)
			s.sess.Wraps = []manifest.Wrap{{To: testGroupKey.Recipient().ID(), Keys: wrap}}
		}, commit.ReasonNoKey},
		"wrap of another release": {[]*manifest.Identity{testGroupKey}, func(s *server, _ *AgentConfig) {
			wrap := s.wrap(testGroupKey.Recipient(), s.sess.Campaign, manifest.Digest{99}, s.rel.keys)
			s.sess.Wraps = []manifest.Wrap{{To: testGroupKey.Recipient().ID(), Keys: wrap}}
		}, commit.ReasonNoKey},
		"server that knows no key": {[]*manifest.Identity{testGroupKey}, func(s *server, _ *AgentConfig) {
			wrap := s.wrap(testGroupKey.Recipient(), s.sess.Campaign, s.sess.Manifest, otherKeys)
			s.sess.Wraps = []manifest.Wrap{{To: testGroupKey.Recipient().ID(), Keys: wrap}}
		}, commit.ReasonNoKey},
		"too many keys": {[]*manifest.Identity{testGroupKey}, func(s *server, _ *AgentConfig) {
			wrap := s.wrap(testGroupKey.Recipient(), s.sess.Campaign, s.sess.Manifest, append(otherKeys, s.rel.keys...))
			s.sess.Wraps = []manifest.Wrap{{To: testGroupKey.Recipient().ID(), Keys: wrap}}
		}, commit.ReasonNoKey},
		"server that knows no key, asked": {nil, func(s *server, _ *AgentConfig) {
			s.sess.SealDevices = true
			s.fileKeys = func(q discovery.FileKeyRequest) ([]byte, error) {
				to, err := q.Open(testKey(manifest.RoleDevice, "d1").Public())
				if err != nil {
					return nil, err
				}
				return to.Wrap(s.sess.Campaign, s.sess.Manifest, otherKeys)
			}
		}, commit.ReasonNoKey},
		"server that refuses": {nil, func(s *server, _ *AgentConfig) {
			s.sess.SealDevices = true
			s.fileKeys = func(discovery.FileKeyRequest) ([]byte, error) {
				return nil, &discovery.Refusal{Status: http.StatusForbidden, Reason: "signature", Detail: "no"}
			}
		}, commit.ReasonNoKey},
		"a device that has no key to prove": {nil, func(s *server, cfg *AgentConfig) {
			s.sess.SealDevices, cfg.Key = true, nil
		}, commit.ReasonNoKey},
		"a program that knows no sealed images": {nil, func(s *server, cfg *AgentConfig) {
			s.sealTo(testGroupKey)
			cfg.Unsealer = nil
		}, commit.ReasonFormat},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, makeSealedRelease(t, nil, testImage(100_000, 1)), commit.Policy{}, "d1")
			w := new(watcher)
			cfg := s.unsealing(t.TempDir(), w, tt.groups...)
			tt.change(s, &cfg)
			a := run(t, cfg, w)
			s.publish()
			eventually(t, time.Minute, name+": refusal", w.has(EventRefused))
			if e, _ := w.find(EventRefused); e.Reason != tt.want || w.has(EventReceiving)() || len(s.fetches) > 0 {
				t.Errorf("%s: refused for %q, want %q; events %v", name, e.Reason, tt.want, w.kinds())
			}
			a.stop()
		})
	}
}

// TestAttackSealedContentIsFoundOutBeforeReady: a release whose images were signed so, and are not what the manifest says of
// their plaintext, is never READY, and nothing of it stands under the name of what was verified.
func TestAttackSealedContentIsFoundOutBeforeReady(t *testing.T) {
	plain := testImage(200_000, 1)
	for name, spoil := range map[string]func(ciphertext []byte, s *manifest.Sealed) []byte{
		"another plaintext digest": func(b []byte, s *manifest.Sealed) []byte { s.SHA256[0] ^= 1; return b },
		"plaintext said shorter":   func(b []byte, s *manifest.Sealed) []byte { s.Size--; return b },
		"plaintext said longer":    func(b []byte, s *manifest.Sealed) []byte { s.Size++; return b },
		"truncated ciphertext":     func(b []byte, s *manifest.Sealed) []byte { return b[:len(b)-1] },
		"truncated at a chunk":     func(b []byte, s *manifest.Sealed) []byte { return b[:len(s.Header)+16+3*(64<<10+16)] },
		"ciphertext with a change": func(b []byte, s *manifest.Sealed) []byte { b[len(b)/2] ^= 1; return b },
		"no header in the file":    func(b []byte, s *manifest.Sealed) []byte { return b[1:] },
	} {
		synctest.Test(t, func(t *testing.T) {
			var b bytes.Buffer
			key, sealed, err := seal.Encrypt(&b, bytes.NewReader(plain))
			if err != nil {
				t.Fatal(err)
			}
			sent := spoil(b.Bytes(), sealed)
			if sealed.Size >= int64(len(sent)) {
				sealed.Size = int64(len(sent)) - 1
			}
			rel := makeRelease(t, func(m *manifest.Manifest) { m.Images[0].Sealed = sealed }, sent)
			rel.keys = []manifest.FileKey{key}
			s := newServer(t, rel, commit.Policy{}, "d1")
			s.sealTo(testGroupKey)
			dir, w := t.TempDir(), new(watcher)
			cfg := s.unsealing(dir, w, testGroupKey)
			cfg.Conn = noMulticast
			a := run(t, cfg, w)
			s.publish()
			eventually(t, 5*time.Minute, name+": refusal", w.has(EventRefused))
			if e, _ := w.find(EventRefused); e.Reason != commit.ReasonVerifyFailed || w.has(EventReady)() {
				t.Errorf("%s: refused for %q; events %v", name, e.Reason, w.kinds())
			}
			a.stop()
			stage := stageDir(rel.m.Digest())
			if readFile(t, dir, imageName(stage, "fw0")) != nil || readFile(t, dir, partName(stage, "fw0")) != nil {
				t.Errorf("%s: a plaintext that is not what was signed stays", name)
			}
		})
	}
}

// TestDeviceIsGivenItsKeyByTheServer: a device of no group asks, until the server answers; after a restart it asks again, as it
// has kept nothing.
func TestDeviceIsGivenItsKeyByTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		image := testImage(200_000, 1)
		s := newServer(t, makeSealedRelease(t, nil, image), commit.Policy{}, "d1")
		s.sess.SealDevices = true
		var asked atomic.Int64
		var up atomic.Bool
		given := make(chan manifest.Recipient, 16)
		s.fileKeys = func(q discovery.FileKeyRequest) ([]byte, error) {
			asked.Add(1)
			if !up.Load() {
				return nil, errors.New("the database is away")
			}
			to, err := q.Open(testKey(manifest.RoleDevice, "d1").Public())
			if err != nil {
				return nil, err
			}
			given <- to
			return to.Wrap(s.sess.Campaign, s.sess.Manifest, s.rel.keys)
		}
		dir, w := t.TempDir(), new(watcher)
		cfg := s.unsealing(dir, w)
		cfg.Conn = noMulticast
		hold := make(chan struct{})
		cfg.Hooks = &recordedHooks{has: []Step{StepVerify}, on: func(Step) { <-hold }}
		a := run(t, cfg, w)
		s.publish()
		eventually(t, 5*time.Minute, "three questions", func() bool { return asked.Load() >= 3 })
		if w.has(EventReceiving)() {
			t.Error("the device receives what it cannot open yet")
		}
		up.Store(true)
		eventually(t, 5*time.Minute, "the verify hook", w.has(EventStaged))
		synctest.Wait()
		close(hold)
		a.stop()

		w = new(watcher) // it was stopped before it was READY
		cfg.Event, cfg.Hooks = w.add, nil
		a = run(t, cfg, w)
		eventually(t, 5*time.Minute, "a vote", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.votes) > 0 })
		s.decideAndTell()
		eventually(t, 5*time.Minute, "activation", w.has(EventActivated))
		a.stop()
		if b := readFile(t, dir, "current/fw0"); !bytes.Equal(b, image) {
			t.Errorf("%d bytes are activated, want the image", len(b))
		}
		if len(given) != 2 {
			t.Fatalf("keys were given %d times, want twice", len(given))
		}
		if first, again := <-given, <-given; first == again {
			t.Error("two questions name one recipient")
		}
	})
}

// TestPowerCutAnywhereWithSealedImages is TestPowerCutAnywhereLeadsToTheSameOutcome of a sealed release.
func TestPowerCutAnywhereWithSealedImages(t *testing.T) {
	cutPowerAnywhere(t, cutDevice{
		sealed: true,
		config: func(_ *diskfault.Disk, cfg *AgentConfig) {
			cfg.Unsealer, cfg.SealKeys = seal.Unsealer{}, []*manifest.Identity{testGroupKey}
		},
		old: func(fsys *diskfault.Disk) {
			if err := errors.Join(fsys.Mkdir("current", 0o755), disk.WriteFile(fsys, "current/fw0", oldImage, 0o644)); err != nil {
				t.Fatal(err)
			}
		},
		runs: func(fsys *diskfault.Disk) ([]byte, error) { return disk.ReadFile(fsys, "current/fw0", 1<<20) },
	})
}

// TestSealedImageInASlot: the slot gets the plaintext, and has to have room for that only; what is received lies in the directory.
func TestSealedImageInASlot(t *testing.T) {
	image := testImage(200_000, 1)
	for size, want := range map[int]EventKind{slotSize: EventReady, len(image): EventReady, len(image) - 1: EventRefused} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, makeSealedRelease(t, nil, image), commit.Policy{}, "d1")
			s.sealTo(testGroupKey)
			fsys, w := newFaultDisk(1), new(watcher)
			fillSlots(t, fsys, size)
			b := &bootLoader{fsys: fsys}
			cfg := s.unsealing("", w, testGroupKey)
			cfg.FS, cfg.Hooks, cfg.Slots, cfg.Conn = fsys, b, b.slots(), noMulticast
			a := run(t, cfg, w)
			s.publish()
			eventually(t, 5*time.Minute, string(want), w.has(want))
			if e, _ := w.find(EventRefused); want == EventRefused && e.Reason != commit.ReasonDiskFull {
				t.Errorf("refused for %s", e.Reason)
			}
			if want == EventReady {
				s.decideAndTell()
				eventually(t, 5*time.Minute, "activation", w.has(EventActivated))
				slot, err := disk.ReadFile(fsys, "slot-b", int64(size))
				if boot, _ := b.current(t.Context()); err != nil || boot != "B" || !bytes.HasPrefix(slot, image) {
					t.Errorf("slot of %d bytes: %s runs, %v", size, boot, err)
				}
			}
			a.stop()
		})
	}
}

// TestSealedNeedsRoomForBoth: what is received and what is in it.
func TestSealedNeedsRoomForBoth(t *testing.T) {
	image := testImage(200_000, 1)
	for free, want := range map[int64]EventKind{spaceMargin + 450_000: EventReady, spaceMargin + 350_000: EventRefused} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, makeSealedRelease(t, nil, image), commit.Policy{}, "d1")
			s.sealTo(testGroupKey)
			fsys, w := newFaultDisk(1), new(watcher)
			fsys.SetFree(free)
			cfg := s.unsealing("", w, testGroupKey)
			cfg.FS, cfg.Conn = fsys, noMulticast
			a := run(t, cfg, w)
			s.publish()
			eventually(t, 5*time.Minute, string(want), w.has(want))
			a.stop()
		})
	}
}

// TestGatewayGivesCiphertextOnly: to agents what was received, to others what was in it only if its operator says so.
func TestGatewayGivesCiphertextOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		image := testImage(200_000, 1)
		rel := makeSealedRelease(t, nil, image)
		s := newServer(t, rel, commit.Policy{}, "d1")
		s.sealTo(testGroupKey)
		w := new(watcher)
		cfg := s.unsealing(t.TempDir(), w, testGroupKey)
		cfg.Conn = noMulticast
		agent, err := NewAgent(cfg)
		if err != nil {
			t.Fatal(err)
		}
		g := agent.Gateway()
		get := func(path string) (int, []byte) {
			rec := httptest.NewRecorder()
			g.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
			return rec.Code, rec.Body.Bytes()
		}
		a := start(t, agent, w)
		s.publish()
		eventually(t, 5*time.Minute, "READY", w.has(EventReady))
		object := filepath.ToSlash(filepath.Join("/v1/campaigns", s.sess.Campaign.String(), "objects/1"))
		if code, b := get(object); code != http.StatusOK || !bytes.Equal(b, rel.images[0]) {
			t.Errorf("an agent gets %d, %d bytes; want the ciphertext", code, len(b))
		}
		s.decideAndTell()
		eventually(t, 5*time.Minute, "activation", w.has(EventActivated))
		synctest.Wait()
		if code, _ := get(object); code != http.StatusNotFound {
			t.Errorf("after the activation an agent gets %d, want 404: the server has it", code)
		}
		if code, b := get("/images/fw0"); code != http.StatusForbidden || bytes.Contains(b, image[:16]) {
			t.Errorf("a phone gets %d, want 403", code)
		}
		if _, err := g.OpenImage("fw0"); err == nil {
			t.Error("a phone gets the plaintext by TFTP")
		}
		if _, b := get("/images/SHA256SUMS"); len(b) > 0 {
			t.Errorf("SHA256SUMS has %s", b)
		}
		g.Unsealed = true
		if code, b := get("/images/fw0"); code != http.StatusOK || !bytes.Equal(b, image) {
			t.Errorf("with the operator's leave a phone gets %d, %d bytes", code, len(b))
		}
		if _, b := get("/images/SHA256SUMS"); !bytes.Contains(b, []byte("fw0")) {
			t.Errorf("SHA256SUMS has %s", b)
		}
		a.stop()
	})
}

// BenchmarkSealedGoodput compares an image that is sealed with one that is not: bytes of plaintext by the time from the first
// packet to READY, of one device, at 100 Mbit/s on a network in memory. "ready/plain" is the ratio, and "received/plain" that to
// the last verified leaf. It takes the best of all rounds of each, as others may use the machine.
func BenchmarkSealedGoodput(b *testing.B) {
	image := testImage(32<<20, 1)
	var received, ready [2]time.Duration // plain and sealed
	best := func(d, now time.Duration) time.Duration { return min(cmp.Or(d, now), now) }
	for b.Loop() {
		for i, rel := range []*testRelease{makeRelease(b, nil, image), makeSealedRelease(b, nil, image)} {
			s := newServer(b, rel, commit.Policy{}, "d1")
			s.rate = 100e6
			if i == 1 {
				s.sealTo(testGroupKey)
			}
			w := new(watcher)
			seen := map[EventKind]chan time.Time{EventReceiving: make(chan time.Time, 1), EventStaged: make(chan time.Time, 1), EventReady: make(chan time.Time, 1)}
			cfg := s.unsealing(b.TempDir(), w, testGroupKey)
			cfg.Event = func(e Event) {
				if c := seen[e.Kind]; c != nil {
					c <- time.Now()
				}
			}
			a := run(b, cfg, w)
			s.publish()
			<-seen[EventReceiving]
			begun := time.Now()
			s.send(1)
			received[i] = best(received[i], (<-seen[EventStaged]).Sub(begun))
			ready[i] = best(ready[i], (<-seen[EventReady]).Sub(begun))
			a.cancel()
			<-a.done
			s.stop()
		}
	}
	b.ReportMetric(float64(received[0])/float64(received[1]), "received/plain")
	b.ReportMetric(float64(ready[0])/float64(ready[1]), "ready/plain")
	b.ReportMetric(0, "ns/op")
}
