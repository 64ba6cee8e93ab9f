package manifest_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
)

// Two people sign a release; a device that trusts both opens it.
func ExampleOpen() {
	alice, _ := manifest.GenerateKey(manifest.RoleRelease, nil)
	bob, _ := manifest.GenerateKey(manifest.RoleRelease, nil)
	now := time.Now().Truncate(time.Second)

	firmware := "the firmware"
	image, _, err := manifest.NewImage("fw.bin", strings.NewReader(firmware), int64(len(firmware)))
	if err != nil {
		fmt.Println(err)
		return
	}
	release := &manifest.Manifest{
		Product: "router", Hardware: []string{"ar9331"}, Version: "2.1.0", Sequence: 7,
		Created: now, Expires: now.AddDate(0, 6, 0), Images: []manifest.Image{image},
	}
	signed, err := release.Sign(alice)
	if err != nil {
		fmt.Println(err)
		return
	}

	trusted := manifest.Keys{Keys: []manifest.PublicKey{alice.Public(), bob.Public()}, Threshold: 2}
	device := manifest.Device{Product: "router", Hardware: "ar9331", Now: now, Floor: manifest.Floor{Sequence: 6}}
	_, err = manifest.Open(signed, trusted, device)
	fmt.Println(errors.Is(err, manifest.ErrSignature))

	signed, err = manifest.AddSignature(signed, bob)
	if err != nil {
		fmt.Println(err)
		return
	}
	opened, err := manifest.Open(signed, trusted, device)
	fmt.Println(opened.Version, opened.Images[0].Name, err)

	device.Floor.Sequence = 8
	_, err = manifest.Open(signed, trusted, device)
	fmt.Println(err)
	// Output:
	// true
	// 2.1.0 fw.bin <nil>
	// older than what is already accepted: sequence 7, this device is at 8
}

// A server tells devices where to listen; they know it by its key.
func ExampleOpenSession() {
	server, _ := manifest.GenerateKey(manifest.RoleServer, nil)
	now := time.Now().Truncate(time.Second)
	session := &manifest.Session{
		Campaign: manifest.CampaignID{1}, Serial: 1, Issued: now, Expires: now.AddDate(0, 0, 30),
		Manifest: manifest.Digest{1}, Targets: manifest.Digest{2}, Target: "all routers",
		Group: netip.MustParseAddrPort("239.1.2.3:6003"), NodeID: 1, Objects: manifest.ObjectsFor(1),
		FEC:   manifest.FEC{ID: 5, BlockSize: 64, Parity: 32, SegmentSize: 1400, Dialect: manifest.DialectRFC},
		Start: now, VoteDeadline: now.Add(time.Hour), Hold: manifest.DefaultHold, Report: "https://updates.example/",
	}
	signed, err := session.Sign(server)
	if err != nil {
		fmt.Println(err)
		return
	}
	heard, err := manifest.OpenSession(signed, server.Public(), nil, now)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(heard.Group, heard.Target)
	// Output: 239.1.2.3:6003 all routers
}

// Any document can be signed for a purpose of its own, as votes and decisions are.
func ExamplePrivateKey_Sign() {
	device, _ := manifest.GenerateKey(manifest.RoleDevice, nil)
	vote, err := device.Sign("example vote 1", []byte("READY"))
	if err != nil {
		fmt.Println(err)
		return
	}
	payload, err := device.Public().Verify("example vote 1", vote)
	fmt.Println(string(payload), err)

	_, err = device.Public().Verify("example decision 1", vote)
	fmt.Println(errors.Is(err, manifest.ErrSignature))
	// Output:
	// READY <nil>
	// true
}

// The hash list arrives first, in any order of pieces; each is checked against the signed manifest.
func ExampleManifest_Pieces() {
	firmware := strings.Repeat("firmware", 40_000) // 320,000 bytes, 5 leaves
	image, leaves, err := manifest.NewImage("fw.bin", strings.NewReader(firmware), int64(len(firmware)))
	if err != nil {
		fmt.Println(err)
		return
	}
	m := &manifest.Manifest{Images: []manifest.Image{image}}
	list := make([]byte, 0, m.HashListSize())
	for _, h := range leaves {
		list = append(list, h[:]...)
	}
	list[100] ^= 1 // forged on the way

	for p := range m.Pieces() {
		if _, err := m.OpenPiece(p, list[p.Offset:p.Offset+p.Length]); err != nil {
			fmt.Println(err)
		}
	}
	// Output: leaf hashes do not match the manifest: image fw.bin, leaves 3 to 3
}
