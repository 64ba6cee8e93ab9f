// Quickstart brings a signed image to three devices by multicast on this host: a server and three agents in one process,
// each device losing one datagram in twenty. It leaves nothing behind.
//
//	go run ./examples/quickstart
package main

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/udp"
	"github.com/multicast-upgrade/tool/upgrade"
)

const devices, imageSize, loss = 3, 20 << 20, 0.05

func main() {
	dir, err := os.MkdirTemp("", "quickstart-")
	check(err)
	defer os.RemoveAll(dir)
	say("", "an image of %d MiB, signed; everything is kept in %s and removed at the end", imageSize>>20, dir)
	image := filepath.Join(dir, "fw.bin")
	content := make([]byte, imageSize)
	rand.NewChaCha8([32]byte{1}).Read(content)
	check(os.WriteFile(image, content, 0o600))
	release, server := key(manifest.RoleRelease), key(manifest.RoleServer)

	cfg := upgrade.CampaignConfig{
		Manifest: sign(image, release), Images: []string{image}, Key: server, State: filepath.Join(dir, "server"), Commit: upgrade.CommitAuto,
		Group: netip.MustParseAddrPort("239.255.77.1:6077"), Interface: "127.0.0.1", TTL: -1, Listen: "127.0.0.1:0",
		Rate: 200e6, GRTT: 20 * time.Millisecond, GroupSize: devices, Lead: time.Second, Event: account("server"),
	}
	keys := make([]*manifest.PrivateKey, devices)
	for i := range keys {
		keys[i] = key(manifest.RoleDevice)
		cfg.Targets = append(cfg.Targets, commit.Target{Device: fmt.Sprint("phone-", i+1), Key: keys[i].Public()})
	}
	campaign, err := upgrade.OpenCampaign(cfg)
	check(err)

	var agents sync.WaitGroup
	for i, target := range cfg.Targets {
		agent, err := upgrade.NewAgent(upgrade.AgentConfig{
			Server: campaign.URL(), TrustServer: server.Public(), Trust: manifest.Keys{Keys: []manifest.PublicKey{release.Public()}, Threshold: 1},
			Product: "phone", Hardware: "rev-a", Device: target.Device, Key: keys[i], Dir: filepath.Join(dir, target.Device),
			Once: true, Event: account(target.Device),
			Conn: func(s *manifest.Session) (session.Conn, error) {
				conn, err := udp.Open(udp.Config{Group: s.Group, Interface: "127.0.0.1", TTL: -1})
				return &lossyConn{Conn: conn, rng: rand.New(rand.NewPCG(uint64(i), 0)), loss: loss}, err
			},
		})
		check(err)
		agents.Go(func() { check(agent.Run(context.Background())) })
	}
	result, err := campaign.Run(context.Background())
	check(err)
	agents.Wait()
	for _, target := range cfg.Targets {
		say(target.Device, "runs the signed image: %v", bytes.Equal(read(filepath.Join(dir, target.Device, "current", "fw.bin")), content))
	}
	say("", "%s on %d of %d devices", result.Verdict, devices-len(result.Laggards), devices)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
