package fleet_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/normtest/hub"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

var loadDevices = flag.Int("fleet.devices", 1000, "devices that BenchmarkFleet simulates")

// pollsPerConn is how many devices share a connection, less than a server takes.
const pollsPerConn = 240

// BenchmarkFleet measures a server under all its devices, over real HTTP/2 and TLS on loopback: every one is held in a long
// poll, all are told of a campaign at once, and all vote READY. Memory is of both sides, in one process.
//
//	go test ./upgrade/fleet -run - -bench Fleet -benchtime 1x -fleet.devices 100000
func BenchmarkFleet(b *testing.B) {
	b.Logf("file descriptors: %s; %d connections are needed at both ends", fileLimit(), *loadDevices/pollsPerConn+1)
	for b.Loop() {
		load(b, *loadDevices)
	}
}

func load(b *testing.B, n int) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	st, err := store.Open(ctx, "sqlite:"+filepath.Join(b.TempDir(), "fleet.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	var group hub.Hub
	s, err := fleet.Open(ctx, fleet.Config{
		Store: st, Key: serverKey, Trust: manifest.Keys{Keys: []manifest.PublicKey{releaseKey.Public()}, Threshold: 1}, URL: "https://127.0.0.1:8443",
		Groups: []netip.AddrPort{netip.MustParseAddrPort("239.1.2.3:6003")}, MaxPending: 2 * n, MaxPolls: 2 * n,
		Conn: func(store.Campaign, netip.AddrPort) (session.Conn, error) {
			return group.Open(netip.MustParseAddrPort("10.0.0.1:6003")), nil
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	work.Go(func() { s.Run(ctx) })
	secure, err := discovery.ServerTLS(serverKey, []string{"127.0.0.1"}, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	web := discovery.NewServer(s.Handler(), secure)
	work.Go(func() { web.ServeTLS(l, "", "") })
	defer web.Close()

	// The registry, as it is after enrolment.
	seen := make([]store.Sighting, n)
	for i := range seen {
		seen[i] = store.Sighting{Device: fmt.Sprintf("d-%06d", i), Product: "phone", Hardware: "rev-a", At: time.Now()}
	}
	if err := st.SeeDevices(ctx, seen...); err != nil {
		b.Fatal(err)
	}
	r := &rig{image: pattern(1000)}
	rel, err := s.AddRelease(ctx, r.signed(releaseKey, 5), "alice")
	if err == nil {
		err = s.AddImage(ctx, rel.ID, "fw", bytes.NewReader(r.image), "alice")
	}
	if err != nil {
		b.Fatal(err)
	}
	c, err := s.Create(ctx, "load", rel.ID, settings(func(set *store.CampaignSettings) { set.Policy.AllowUnsigned, set.Policy.Waves[0].Ask = true, true }), "alice")
	if err != nil {
		b.Fatal(err)
	}

	base := heldBytes()
	var told, ready atomic.Int64
	var lastTold atomic.Int64 // nanoseconds since 1970
	vote := make(chan struct{})
	work.Go(func() { <-ctx.Done() })
	for first := 0; first < n; first += pollsPerConn {
		transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: discovery.ClientTLS(serverKey.Public(), "127.0.0.1", time.Now)}
		defer transport.CloseIdleConnections()
		for i := first; i < min(first+pollsPerConn, n); i++ {
			work.Go(func() {
				client, err := discovery.NewClient("https://"+l.Addr().String(), transport)
				if err != nil {
					b.Error(err)
					return
				}
				client.Device, client.Wait, client.Timeout = seen[i].Device, time.Minute, 2*time.Minute
				for etag := `"none"`; ctx.Err() == nil; {
					notice, tag, err := client.Poll(ctx, etag)
					if err != nil && ctx.Err() == nil {
						b.Error(err)
						return
					}
					if etag = tag; notice != nil {
						break
					}
				}
				told.Add(1)
				lastTold.Store(time.Now().UnixNano())
				select {
				case <-vote:
				case <-ctx.Done():
					return
				}
				v := commit.Vote{Round: commit.Round{Campaign: c.ID, Manifest: rel.ID}, Roots: []commit.Digest{commit.Digest(rel.Manifest.Images[0].Root)},
					Device: client.Device, Ready: true, Counter: 1}
				if err := client.Vote(ctx, discovery.Statement{Device: client.Device, Body: v.Encode(), Campaign: c.ID.String()}); err != nil {
					if !errors.Is(err, context.Canceled) {
						b.Error(err)
					}
					return
				}
				ready.Add(1)
			})
		}
	}
	await := func(what string, ok func() bool) {
		for end := time.Now().Add(5 * time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) || b.Failed() {
				b.Fatalf("%s: %d told, %d READY", what, told.Load(), ready.Load())
			}
		}
	}
	await("polls", func() bool {
		online := 0
		for _, d := range seen {
			if s.Online(d.Device) {
				online++
			}
		}
		return online == n
	})
	b.ReportMetric(float64(heldBytes()-base)/float64(n), "B/device")

	if _, err := s.Start(ctx, c.ID, c.Revision, "alice"); err != nil {
		b.Fatal(err)
	}
	await("announcement", func() bool { return told.Load() > 0 })
	begun := time.Now()
	await("all told", func() bool { return told.Load() == int64(n) })
	b.ReportMetric(max(0, time.Unix(0, lastTold.Load()).Sub(begun).Seconds()), "s-to-tell")
	begun = time.Now()
	close(vote)
	await("all READY", func() bool { return ready.Load() == int64(n) })
	b.ReportMetric(float64(n)/time.Since(begun).Seconds(), "READY/s")
	if snap, err := s.Snapshot(ctx, c.ID); err != nil || snap.Ready != n || !snap.Asking {
		b.Errorf("%d READY of %d, %v", snap.Ready, n, err)
	}
}

// heldBytes is what is in use: heap and stacks.
func heldBytes() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
