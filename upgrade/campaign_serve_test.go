package upgrade_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/commit/disk/diskfault"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade"
)

// Beyond loopback the rendezvous speaks TLS, with a key that nothing but the server key vouches for.
func TestRendezvousBeyondLoopbackIsEncrypted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 1, 0)
		r.cfg.Listen = "10.1.2.3:8443"
		c := r.open()
		if c.URL() != "https://10.1.2.3:8443" {
			t.Errorf("URL %s", c.URL())
		}
		a := newAgentRig(t, r, "d0")
		connect := func(key manifest.PublicKey) *http.Transport {
			return &http.Transport{DialContext: r.lan.dial, DisableKeepAlives: true,
				TLSClientConfig: discovery.ClientTLS(key, "10.1.2.3", func() time.Time { return time.Time{} })}
		}
		a.cfg.Server, a.cfg.Transport = c.URL(), connect(serverKey.Public())
		wrong, err := discovery.NewClient(c.URL(), connect(testKey(manifest.RoleServer, "another").Public()))
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			if _, _, err := wrong.Poll(t.Context(), ""); !errors.Is(err, discovery.ErrServerCertificate) {
				t.Errorf("a device that trusts another server key: %v, want ErrServerCertificate", err)
			}
			if err := a.run(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		got, err := c.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.wantVerdict(got, commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
		time.Sleep(10 * time.Second) // both ends of a TLS connection say good-bye, for as long
	})
}

func TestRendezvousSendsTheSlowAndTheLargeAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 1, 0)
		defer r.background(r.open())()
		for name, tt := range map[string]struct {
			request string
			want    string // status, if there is an answer
			within  time.Duration
		}{
			"says nothing":   {"", "", 31 * time.Second},
			"slow header":    {"GET /v1/notice HTTP/1.1\r\nHost: a\r\n", "", 31 * time.Second},
			"endless header": {"GET /v1/notice HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 64<<10), "431", time.Second},
			"slow body":      {"POST /v1/vote HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n1", "503", 91 * time.Second},
			"large body":     {"POST /v1/vote HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n" + strings.Repeat("x", 512<<10), "400", time.Second},
			"other path":     {"GET /etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", "404", time.Second},
		} {
			conn, err := r.lan.dial(t.Context(), "tcp", "127.0.0.1:8443")
			if err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			go io.WriteString(conn, tt.request)
			in := bufio.NewReader(conn)
			line, _ := in.ReadString('\n')
			if took := time.Since(begun); took > tt.within {
				t.Errorf("%s: it took %v, want less than %v", name, took, tt.within)
			}
			if status, _, _ := strings.Cut(strings.TrimPrefix(line, "HTTP/1.1 "), " "); status != tt.want {
				t.Errorf("%s: %q, want status %q", name, line, tt.want)
			}
			conn.Close()
		}
		time.Sleep(time.Second) // net/http lets go of connections that it has turned down
	})
}

// A slowDisk takes its time to make writes durable.
type slowDisk struct{ disk.FS }

type slowFile struct{ disk.File }

const syncTime = 10 * time.Millisecond

func (d slowDisk) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	f, err := d.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return slowFile{f}, nil
}

func (f slowFile) Sync() error {
	time.Sleep(syncTime)
	return f.File.Sync()
}

func TestVotesThatMeetShareAWrite(t *testing.T) {
	const devices = 200
	synctest.Test(t, func(t *testing.T) {
		r := newCampaignRig(t, 0, 0)
		r.cfg.FS, r.cfg.State, r.cfg.Commit = slowDisk{diskfault.New(1)}, "", upgrade.CommitAsk
		m, _, err := manifest.OpenUnverified(r.cfg.Manifest)
		if err != nil {
			t.Fatal(err)
		}
		for i := range devices {
			name := fmt.Sprint("d", i)
			r.cfg.Targets = append(r.cfg.Targets, commit.Target{Device: name, Key: testKey(manifest.RoleDevice, name).Public()})
		}
		c := r.open()
		defer r.background(c)()
		client := newFakeDevice(t, r.lan, "d0", true).client
		begun := time.Now()
		var wg sync.WaitGroup
		for _, target := range r.cfg.Targets {
			wg.Go(func() {
				vote := commit.Vote{Round: commit.Round{Campaign: c.ID(), Manifest: commit.Digest(m.Digest())}, Device: target.Device,
					Roots: []commit.Digest{commit.Digest(m.Images[0].Root)}, Ready: true, Counter: 1}
				signed, err := vote.Sign(testKey(manifest.RoleDevice, target.Device))
				if err == nil {
					err = client.Vote(t.Context(), discovery.Statement{Device: target.Device, Signed: true, Body: signed})
				}
				if err != nil {
					t.Errorf("%s: %v", target.Device, err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(begun); took > devices/10*syncTime {
			t.Errorf("%d votes took %v, as if ten or fewer shared a write of %v", devices, took, syncTime)
		}
		if s, err := c.Status(t.Context()); err != nil || s.Ready != devices || !s.Asking {
			t.Errorf("%d of %d are READY: %v", s.Ready, devices, err)
		}
	})
}
