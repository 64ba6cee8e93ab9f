package fleet_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/internal/fleettest"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// pair runs two servers on one store, of which the first leads a campaign that asks before COMMIT.
func (r *rig) pair(agents func(lead, other *server)) (lead, other *server, c store.Campaign) {
	lead = r.serve("one")
	other = r.serve("two")
	r.upload(lead)
	agents(lead, other)
	c = r.create(lead, "spring", func(set *store.CampaignSettings) { set.Policy.Waves[0].Ask = true })
	r.start(lead, c)
	return lead, other, c
}

// Devices and people may use any server: it does what they want, or has the one do it that leads the campaign.
func TestAnyServerServes(t *testing.T) {
	for name, database := range fleettest.Databases {
		t.Run(name, func(t *testing.T) { virtualOn(t, database, anyServerServes) })
	}
}

func anyServerServes(t *testing.T, r *rig) {
	var deaf, near, far *agent
	lead, other, c := r.pair(func(lead, other *server) {
		r.enrol(names(3)...)
		near = r.agent("phone-00", func(cfg *upgrade.AgentConfig) { cfg.Transport = at(lead) })
		far = r.agent("phone-01", func(cfg *upgrade.AgentConfig) { cfg.Transport = at(other) })
		deaf = r.agent("phone-02", func(cfg *upgrade.AgentConfig) { // it fetches everything
			cfg.Transport = at(other)
			cfg.Conn = func(*manifest.Session) (session.Conn, error) { return nil, errors.New("no route to the group") }
		})
	})
	defer lead.stop()
	defer other.stop()
	r.until(5*time.Second, "the device of the other server is told", func() bool { return far.did(upgrade.EventAnnounced) })
	r.until(time.Minute, "asking", func() bool { return r.snapshot(other, c.ID).Asking })
	if !deaf.did(upgrade.EventFallback) {
		t.Error("the device that multicast does not reach has not fetched the image")
	}
	here, there := r.snapshot(lead, c.ID), r.snapshot(other, c.ID)
	if there.Leader != "one" || there.Ready != 3 || there.Joined != 3 || there.Sending.Total != here.Sending.Total || there.Step != "asking" {
		t.Errorf("at the other server the campaign is %+v", there)
	}
	page, err := other.CampaignDevices(r.Context(), c.ID, fleet.TargetFilter{}, store.Page{Limit: 2})
	if err != nil || len(page.Items) != 2 || page.Items[1].State != commit.StateReady || page.Items[1].Bytes != int64(len(r.image)) || page.Next != "phone-01" {
		t.Errorf("devices at the other server: %+v, %v", page, err)
	}
	var asked atomic.Bool // the log is not read for it
	r.mu.Lock()
	peer := r.peers["one"]
	r.peers["one"] = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { asked.Store(true); peer.ServeHTTP(w, req) })
	r.mu.Unlock()
	if v, err := other.CampaignDevice(r.Context(), c.ID, "phone-01"); err != nil || v.Device != "phone-01" || v.State != commit.StateReady || !asked.Load() {
		t.Errorf("one device at the other server: %+v, %v, and its leader was asked: %v", v, err, asked.Load())
	}
	if _, err := other.CampaignDevice(r.Context(), c.ID, "phone-77"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a device that is no target, at the other server: %v", err)
	}

	changes := other.Subscribe()
	defer changes.Close()
	for _, step := range []struct {
		do   func(context.Context, commit.CampaignID, string) error
		want error
	}{{other.Hold, nil}, {other.Resume, nil}, {other.Commit, nil}, {other.Abort, commit.ErrDecided}} {
		if err := step.do(r.Context(), c.ID, "bob"); !errors.Is(err, step.want) {
			t.Errorf("at the other server: %v, want %v", err, step.want)
		}
	}
	if ch, err := changes.Next(r.Context()); err != nil || len(ch.Campaigns) != 1 {
		t.Errorf("subscribers of the other server hear %+v, %v", ch, err)
	}
	l, err := r.store.Events(r.Context(), store.EventFilter{Action: "campaign.commit"}, store.Page{})
	if err != nil || len(l.Items) != 1 || l.Items[0].Actor != "bob" {
		t.Errorf("audit trail: %+v, %v", l, err)
	}
	r.until(5*time.Minute, "closed", func() bool { return r.phase(c.ID) == store.PhaseClosed })
	if snap := r.snapshot(other, c.ID); snap.Committed != 3 {
		t.Errorf("%+v", snap)
	}
	for _, a := range []*agent{near, far, deaf} {
		if !a.did(upgrade.EventActivated) {
			t.Errorf("a device did not activate: %v", a.err)
		}
	}
}

// While the leader cannot be asked, nobody is told anything else than what it has said, and everybody is asked to come again.
func TestLeaderThatDoesNotAnswer(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		lead, other, c := r.pair(func(lead, other *server) {
			r.enrol("phone-00", "phone-01")
			r.agent("phone-00", func(cfg *upgrade.AgentConfig) { cfg.Transport = at(lead) })
		})
		defer lead.stop()
		defer other.stop()
		r.until(time.Minute, "a READY", func() bool { return r.snapshot(other, c.ID).Ready == 1 })
		r.until(5*time.Second, "not ready enough", func() bool { return errors.Is(other.Commit(r.Context(), c.ID, "bob"), commit.ErrNotReady) })
		r.cut("one")
		for _, do := range []func(context.Context, commit.CampaignID, string) error{other.Commit, other.Abort} {
			err := do(r.Context(), c.ID, "bob")
			if e, ok := errors.AsType[*fleet.NotLeaderError](err); !ok || e.Leader != "one" || e.Err == nil {
				t.Errorf("%v, want that one does not answer", err)
			}
		}
		time.Sleep(3 * time.Second) // what the leader said last is too old by then
		if snap := r.snapshot(other, c.ID); snap.Ready != 1 || snap.Targets != 2 || snap.Phase != store.PhaseRunning {
			t.Errorf("by the store alone: %+v", snap)
		}
		late := r.agent("phone-01", func(cfg *upgrade.AgentConfig) { cfg.Transport = at(other) })
		r.until(5*time.Second, "a device is told all the same", func() bool { return late.did(upgrade.EventAnnounced) })
		client, err := discovery.NewClient("http://two", at(other))
		if err != nil {
			t.Fatal(err)
		}
		err = client.Status(r.Context(), discovery.Status{Device: "phone-01", Campaign: c.ID.String(), State: "receiving"})
		if refusal, ok := errors.AsType[*discovery.Refusal](err); !ok || refusal.Status != http.StatusServiceUnavailable {
			t.Errorf("a device that the leader should hear: %v, want 503", err)
		}
		r.mu.Lock()
		r.peers["one"] = lead.PeerHandler()
		r.mu.Unlock()
		r.until(5*time.Minute, "asking", func() bool { return r.snapshot(other, c.ID).Asking })
		if err := other.Commit(r.Context(), c.ID, "bob"); err != nil {
			t.Fatal(err)
		}
		r.until(5*time.Minute, "closed", func() bool { return r.phase(c.ID) == store.PhaseClosed })
	})
}

// Who takes over knows how far devices were, before any of them says it anew; so does who follows a campaign without a leader.
func TestPictureAfterTakeover(t *testing.T) {
	for name, database := range fleettest.Databases {
		t.Run(name, func(t *testing.T) {
			virtualOn(t, database, func(t *testing.T, r *rig) {
				first := r.serve("one")
				r.upload(first)
				r.enrol(names(4)...)
				for _, name := range names(3) {
					r.agent(name, nil)
				}
				c := r.create(first, "spring", func(set *store.CampaignSettings) {
					set.Policy.Waves[0].Ask, set.Policy.Waves[0].Quorum = true, 75
				})
				r.start(first, c)
				r.until(time.Minute, "devices have said how far they are", func() bool {
					said := 0
					for _, v := range r.devices(first, c.ID) {
						if v.Bytes > 0 && v.Heard > 0 {
							said++
						}
					}
					return said == 3
				})
				time.Sleep(2 * time.Second) // they are in the store
				r.kill(first, c.ID)

				second := r.serve("two")
				defer second.stop()
				r.mu.Lock()
				front := r.front
				r.front = nil // no device says anything
				r.mu.Unlock()
				for _, step := range []struct {
					leader string
					within time.Duration
				}{{"", time.Second}, {"two", 2*leaseTime + 10*time.Second}} {
					r.until(step.within, "led by "+step.leader, func() bool { return r.snapshot(second, c.ID).Leader == step.leader || step.leader == "" })
					snap := r.snapshot(second, c.ID)
					if snap.Joined != 3 || snap.Targets != 4 {
						t.Errorf("led by %q: %+v", step.leader, snap)
					}
					for _, v := range r.devices(second, c.ID) {
						if joined := v.Device != "phone-03"; joined != (v.Bytes > 0 && v.Heard > 0) {
							t.Errorf("led by %q: %+v", step.leader, v)
						}
					}
				}
				r.mu.Lock()
				r.front = front
				r.mu.Unlock()
				r.until(5*time.Minute, "asking", func() bool { return r.snapshot(second, c.ID).Asking })
				if err := second.Commit(r.Context(), c.ID, "bob"); err != nil {
					t.Fatal(err)
				}
				r.until(30*time.Minute, "closed", func() bool { return r.phase(c.ID) == store.PhaseClosed })
			})
		})
	}
}

// A campaign that waits for devices counts those at all servers.
func TestDevicesWaitAtAnyServer(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		one, two := r.serve("one"), r.serve("two")
		defer one.stop()
		defer two.stop()
		r.upload(one)
		r.enrol(names(3)...)
		r.agent("phone-00", func(cfg *upgrade.AgentConfig) { cfg.Transport = at(one) })
		r.agent("phone-01", func(cfg *upgrade.AgentConfig) { cfg.Transport = at(two) })
		c := r.create(one, "spring", func(set *store.CampaignSettings) { set.Schedule.Joined = 3 })
		r.start(one, c)
		time.Sleep(time.Minute)
		if snap := r.snapshot(one, c.ID); snap.Phase != store.PhaseScheduled || snap.Joined != 2 {
			t.Errorf("%+v", snap)
		}
		r.agent("phone-02", func(cfg *upgrade.AgentConfig) { cfg.Transport = at(two) })
		r.until(5*time.Minute, "closed", func() bool { return r.phase(c.ID) == store.PhaseClosed })
	})
}

// What servers ask of each other is for servers with the server key.
func TestPeersKnowEachOther(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		s := r.serve("one")
		defer s.stop()
		must := func(pass string, err error) string {
			if err != nil {
				t.Fatal(err)
			}
			return pass
		}
		now := time.Now()
		stranger, err := fleet.Open(r.Context(), fleet.Config{Store: r.store, Key: fleettest.Key(manifest.RoleServer, "other"),
			Trust: fleettest.Trust, URL: "http://127.0.0.1:8443"})
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			what, pass string
			want       int
		}{
			{"a good pass", must(s.Pass(now)), http.StatusConflict}, // there is no such campaign
			{"none", "", http.StatusUnauthorized},
			{"a word", "secret", http.StatusUnauthorized},
			{"an old one", must(s.Pass(now.Add(-2 * time.Minute))), http.StatusUnauthorized},
			{"one from the future", must(s.Pass(now.Add(2 * time.Minute))), http.StatusUnauthorized},
			{"one of another key", must(stranger.Pass(now)), http.StatusUnauthorized},
			{"the time that devices are told", s.SignedTime(), http.StatusUnauthorized},
		} {
			q := httptest.NewRequest(http.MethodPost, "/peer/v1/order", strings.NewReader(`{"campaign":"11111111111111111111111111111111","action":"campaign.commit","actor":"eve"}`))
			q.Header.Set("Authorization", "Bearer "+test.pass)
			w := httptest.NewRecorder()
			s.PeerHandler().ServeHTTP(w, q)
			if w.Code != test.want {
				t.Errorf("%s: %d, want %d", test.what, w.Code, test.want)
			}
		}
	})
}

// Servers speak TLS with each other by the server key, whatever certificate they show to others.
func TestPeersSpeakTLS(t *testing.T) {
	st, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "fleet.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	open := func(name, url string) *fleet.Server {
		s, err := fleet.Open(t.Context(), fleet.Config{Store: st, Key: fleettest.ServerKey, Trust: fleettest.Trust,
			URL: "https://updates.example.net", Name: name, PeerURL: url})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for name, key := range map[string]*manifest.PrivateKey{"of the server key": fleettest.ServerKey, "of another": fleettest.Key(manifest.RoleServer, "other")} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			url := "https://" + l.Addr().String()
			lead, other := open("one", url), open("two", "https://127.0.0.1:1")
			public, err := discovery.ServerTLS(fleettest.Key(manifest.RoleServer, "public"), []string{"updates.example.net"}, time.Now()) // as of another authority
			if err == nil {
				err = fleet.ServePeers(public, key)
			}
			if err != nil {
				t.Fatal(err)
			}
			srv := discovery.NewServer(lead.PeerHandler(), public)
			go srv.ServeTLS(l, "", "")
			defer srv.Close()
			err = other.AskPeer(t.Context(), store.NewOwner("one", url))
			if key == fleettest.ServerKey && !strings.Contains(err.Error(), "no server leads") {
				t.Errorf("%v, want the answer of the other server", err)
			}
			if key != fleettest.ServerKey && !errors.Is(err, discovery.ErrServerCertificate) {
				t.Errorf("%v, want a certificate that is refused", err)
			}
			// To others it shows its own certificate.
			conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true, ServerName: "updates.example.net"})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if names := conn.ConnectionState().PeerCertificates[0].DNSNames; len(names) != 1 || names[0] != "updates.example.net" {
				t.Errorf("browsers see a certificate of %v", names)
			}
		})
	}
}
