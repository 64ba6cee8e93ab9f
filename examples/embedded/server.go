package main

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/merkle"
	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/udp"
)

// A server is the other side: it signs, sends and decides, as normsend does.
type server struct {
	release, key          *manifest.PrivateKey
	manifest, description []byte // signed
	campaign              commit.CampaignID
	coordinator           *commit.Coordinator
	session               *session.Session
}

// startServer begins a campaign for one device.
func startServer(device manifest.PublicKey) *server {
	s := &server{release: must(manifest.GenerateKey(manifest.RoleRelease, nil)), key: must(manifest.GenerateKey(manifest.RoleServer, nil)), campaign: commit.CampaignID{1}}
	now := time.Now().Truncate(time.Second)
	firmware := bytes.Repeat([]byte("firmware "), 250_000)
	image, leaves, err := manifest.NewImage("fw.bin", bytes.NewReader(firmware), int64(len(firmware)))
	check(err)
	m := &manifest.Manifest{Product: "router", Hardware: []string{"ar9331"}, Version: "2.1.0", Sequence: 7, Created: now, Expires: now.AddDate(0, 6, 0), Images: []manifest.Image{image}}
	s.manifest = must(m.Sign(s.release))

	targets := []commit.Target{{Device: "router-1", Key: device}}
	group := netip.AddrPortFrom(netip.AddrFrom4([4]byte{239, 255, byte(rand.Uint32()), byte(rand.Uint32())}), 6003)
	code := fec.Default()
	s.description = must((&manifest.Session{
		Campaign: manifest.CampaignID(s.campaign), Serial: 1, Issued: now, Expires: now.AddDate(0, 0, 30),
		Manifest: m.Digest(), Targets: manifest.Digest(commit.TargetsDigest(targets)), Target: "router-1",
		Group: group, NodeID: 1, Objects: manifest.ObjectsFor(1),
		FEC:   manifest.FEC{ID: code.ID, BlockSize: uint16(code.MaxBlockLen), Parity: uint16(code.MaxParity), SegmentSize: 1400, Dialect: manifest.DialectRFC},
		Start: now, VoteDeadline: now.Add(time.Hour), Hold: manifest.DefaultHold, Report: "https://updates.example/",
	}).Sign(s.key))
	s.coordinator = must(commit.OpenCoordinator(commit.CoordinatorConfig{Key: s.key, Public: s.key.Public(),
		Open: func(func([]byte) error) (commit.Log, error) { return forgetful{}, nil }}))
	check(s.coordinator.Start(commit.Plan{Campaign: s.campaign, Manifest: commit.Digest(m.Digest()), Roots: []commit.Digest{commit.Digest(image.Root)},
		Targets: targets, Waves: []commit.Policy{{Quorum: 100, Deadline: now.Add(time.Hour)}}}))

	conn := must(udp.Open(udp.Config{Group: group, Interface: "127.0.0.1", TTL: -1, Role: udp.Sender}))
	s.session = must(session.Open(session.Config{Conn: conn, Send: &norm.SenderConfig{Node: 1, Group: group, FEC: code, Rate: 50e6, GRTT: 50 * time.Millisecond}}))
	send := func(kind norm.Kind, b []byte) {
		_, _, err := s.session.Send(context.Background(), norm.Object{Kind: kind, Size: int64(len(b)), Pinned: true}, bytes.NewReader(b))
		check(err)
	}
	send(norm.Data, must(m.HashList([][]merkle.Hash{leaves}))) // in the order of manifest.ObjectsFor
	send(norm.File, firmware)
	return s
}

// receive takes what the device reports, and returns what of it is acknowledged.
func (s *server) receive(messages []commit.Message) (acknowledged []uint64) {
	refused := must(s.coordinator.Receive(time.Now(), messages...))
	for i, m := range messages {
		check(refused[i])
		acknowledged = append(acknowledged, m.Counter)
	}
	return acknowledged
}

// decision returns the signed decision, once there is one.
func (s *server) decision() []byte {
	return must(s.coordinator.Answer(time.Now(), s.campaign, 0)).Signed
}

func (s *server) stop() { s.session.Close() }
