// Embedded is a firmware agent of your own, with its own storage and activation: it takes an image from a multicast
// session, checks each leaf as it arrives, votes, and activates on the server's decision. Here storage is memory and
// activation a line of text; server.go stands in for the other side.
//
//	go run ./examples/embedded
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/udp"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	key := must(manifest.GenerateKey(manifest.RoleDevice, nil)) // made once, kept by the device
	srv := startServer(key.Public())
	defer srv.stop()

	// What is coming: two signed documents, as discovery brings them. Nothing is received that they do not vouch for.
	trusted := manifest.Keys{Keys: []manifest.PublicKey{srv.release.Public()}, Threshold: 1}
	m := must(manifest.Open(srv.manifest, trusted, manifest.Device{Product: "router", Hardware: "ar9331", Now: time.Now()}))
	d := must(manifest.OpenSession(srv.description, srv.key.Public(), nil, time.Now()))
	if d.Manifest != m.Digest() {
		check(errors.New("the session is about another release"))
	}
	fmt.Printf("opened    %s %s: %s, %d bytes\n", m.Product, m.Version, m.Images[0].Name, m.Images[0].Size)

	// Where it goes: the leaf hashes in memory, the image in our slot, which a Verifier stands before.
	hashes, slot := make(flash, m.HashListSize()), newSlot(m.Images[0])
	s := must(session.Open(session.Config{
		Conn:    must(udp.Open(udp.Config{Group: d.Group, Interface: "127.0.0.1", TTL: -1})),
		Receive: &norm.ReceiverConfig{Node: 7, Group: d.Group, Sender: norm.NodeID(d.NodeID)},
	}))
	defer s.Close()
	list := must(s.Expect(ctx, preset(d, d.Objects.Hashes, norm.Data, m.HashListSize()), hashes))
	image := must(s.Expect(ctx, preset(d, d.Objects.Images[0], norm.File, m.Images[0].Size), slot))

	// Receive. A leaf with a wrong hash is asked for again, and so is a piece of the list that the manifest does not confirm.
	for !slot.done() {
		if e := must(s.Next(ctx)); e.Kind == norm.ObjectComplete && e.Object == list {
			for p := range m.Pieces() {
				leaves, err := m.OpenPiece(p, hashes[p.Offset:p.Offset+p.Length])
				if err != nil {
					check(s.RejectRange(ctx, list, norm.Range{Offset: p.Offset, Length: p.Length}))
					continue
				}
				check(slot.expect(p.First, leaves))
			}
		}
		for _, wrong := range slot.wrong() {
			check(s.RejectRange(ctx, image, wrong))
		}
	}
	fmt.Printf("received  all %d leaves, each verified\n", m.Images[0].Leaves())

	check(vote(srv, key, m, d, func() error { // by now the slot is whole: verify what storage really holds
		_, err := m.Images[0].Match(bytes.NewReader(slot.flash))
		return err
	}))
}
