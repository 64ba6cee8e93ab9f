// Signsend makes a key, signs an image, and sends the signed manifest and the image by multicast on this host's
// loopback interface. A receiver in the same program, which trusts the public key and nothing else, verifies both.
//
//	go run ./examples/signsend
package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/udp"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	// Sign: done once, where the release key is kept.
	firmware := bytes.Repeat([]byte("firmware "), 250_000)
	key := must(manifest.GenerateKey(manifest.RoleRelease, nil))
	image, _, err := manifest.NewImage("fw.bin", bytes.NewReader(firmware), int64(len(firmware)))
	check(err)
	now := time.Now().Truncate(time.Second)
	release := &manifest.Manifest{
		Product: "router", Hardware: []string{"ar9331"}, Version: "2.1.0", Sequence: 7,
		Created: now, Expires: now.AddDate(0, 6, 0), Images: []manifest.Image{image},
	}
	signed := must(release.Sign(key))
	fmt.Printf("signed    %s, %d bytes, with %s\n", image.Name, image.Size, key.Public().Fingerprint())

	// Receive: two objects are taken, into memory; whatever else a stranger offers is refused.
	group := netip.AddrPortFrom(netip.AddrFrom4([4]byte{239, 255, byte(rand.Uint32()), byte(rand.Uint32())}), 6003)
	lo := udp.Config{Group: group, Interface: "127.0.0.1", TTL: -1} // nothing leaves this host
	var objects [2]memory
	r := must(session.Open(session.Config{
		Conn:    must(udp.Open(lo)),
		Receive: &norm.ReceiverConfig{Node: 2, Group: group, Join: norm.JoinAll},
		Offer: func(_ norm.Handle, o norm.ReceivedObject) session.Sink {
			if int(o.ID) >= len(objects) || objects[o.ID] != nil || o.Size > 16<<20 {
				return nil
			}
			objects[o.ID] = make(memory, o.Size)
			return objects[o.ID]
		},
	}))
	defer r.Close()

	// Send.
	lo.Role = udp.Sender
	s := must(session.Open(session.Config{Conn: must(udp.Open(lo)), Send: &norm.SenderConfig{Node: 1, Group: group, Rate: 50e6}}))
	defer s.Close()
	for _, b := range [][]byte{signed, firmware} {
		_, id, err := s.Send(ctx, norm.Object{Size: int64(len(b))}, bytes.NewReader(b))
		check(err)
		fmt.Printf("sending   object %d, %d bytes, to %v\n", id, len(b), group)
	}

	// Verify: nothing is believed before the signature holds, and then only what it vouches for.
	for complete := 0; complete < len(objects); {
		if e := must(r.Next(ctx)); e.Kind == norm.ObjectComplete {
			complete++
		}
	}
	trusted := manifest.Keys{Keys: []manifest.PublicKey{key.Public()}, Threshold: 1}
	opened := must(manifest.Open(objects[0], trusted, manifest.Device{Product: "router", Hardware: "ar9331", Now: now}))
	must(opened.Images[0].Match(bytes.NewReader(objects[1])))
	fmt.Printf("verified  %s %s, %d bytes, SHA-256 %v\n", opened.Product, opened.Version, len(objects[1]), opened.Images[0].SHA256)
}
