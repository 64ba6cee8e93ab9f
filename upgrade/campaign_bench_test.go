package upgrade_test

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/upgrade"
)

// BenchmarkVotes delivers signed votes over HTTP on loopback, each durable when it is answered.
func BenchmarkVotes(b *testing.B) {
	l := newLAN(1, 0)
	signed, images := signRelease(b, []byte("image"), nil)
	cfg := upgrade.CampaignConfig{Key: serverKey, Manifest: signed, Images: images, State: filepath.Join(b.TempDir(), "state"),
		Group: campaignGroup, Listen: "127.0.0.1:0", Bind: net.Listen, Conn: func() (session.Conn, error) { return l.open() }}
	keys := make([]*manifest.PrivateKey, b.N)
	for i := range keys {
		name := fmt.Sprint("d", i)
		keys[i] = testKey(manifest.RoleDevice, name)
		cfg.Targets = append(cfg.Targets, commit.Target{Device: name, Key: keys[i].Public()})
	}
	c, err := upgrade.OpenCampaign(cfg)
	if err != nil {
		b.Fatal(err)
	}
	go c.Run(b.Context())
	m, _, err := manifest.OpenUnverified(signed)
	if err != nil {
		b.Fatal(err)
	}
	const workers = 64
	client, err := discovery.NewClient(c.URL(), &http.Transport{MaxIdleConnsPerHost: workers})
	if err != nil {
		b.Fatal(err)
	}
	vote := commit.Vote{Round: commit.Round{Campaign: c.ID(), Manifest: commit.Digest(m.Digest())}, Roots: []commit.Digest{commit.Digest(m.Images[0].Root)}, Ready: true, Counter: 1}
	statements := make(chan discovery.Statement, b.N)
	for i, t := range cfg.Targets {
		vote.Device = t.Device
		body, err := vote.Sign(keys[i])
		if err != nil {
			b.Fatal(err)
		}
		statements <- discovery.Statement{Device: t.Device, Signed: true, Body: body}
	}
	close(statements)
	var wg sync.WaitGroup
	b.ResetTimer()
	for range workers {
		wg.Go(func() {
			for s := range statements {
				if err := client.Vote(b.Context(), s); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "votes/s")
}
