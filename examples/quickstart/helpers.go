package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/udp"
	"github.com/multicast-upgrade/tool/upgrade"
)

// A lossyConn loses a share of what it receives.
type lossyConn struct {
	session.Conn
	rng  *rand.Rand
	loss float64
}

func (c *lossyConn) ReadBatch(msgs []udp.Message) (kept int, err error) {
	for kept == 0 && err == nil {
		var n int
		n, err = c.Conn.ReadBatch(msgs)
		for i := range n {
			if c.rng.Float64() >= c.loss {
				msgs[kept], msgs[i] = msgs[i], msgs[kept]
				kept++
			}
		}
	}
	return kept, err
}

// sign returns the signed manifest of an image.
func sign(path string, release *manifest.PrivateKey) []byte {
	content := read(path)
	image, _, err := manifest.NewImage(filepath.Base(path), bytes.NewReader(content), int64(len(content)))
	check(err)
	now := time.Now().UTC().Truncate(time.Second)
	m := manifest.Manifest{Product: "phone", Hardware: []string{"rev-a"}, Version: "2.0", Sequence: 2,
		Created: now, Expires: now.AddDate(0, 6, 0), Images: []manifest.Image{image}}
	signed, err := m.Sign(release)
	check(err)
	return signed
}

func read(path string) []byte {
	b, err := os.ReadFile(path)
	check(err)
	return b
}

func key(role manifest.Role) *manifest.PrivateKey {
	k, err := manifest.GenerateKey(role, nil)
	check(err)
	return k
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

var (
	begun = time.Now()
	mu    sync.Mutex // one line at a time
)

func say(who, format string, args ...any) {
	mu.Lock()
	defer mu.Unlock()
	fmt.Printf("%6.2f s  %-8s  %s\n", time.Since(begun).Seconds(), who, fmt.Sprintf(format, args...))
}

// account tells what happens to one of the parties, in words.
func account(who string) func(upgrade.Event) {
	return func(e upgrade.Event) { say(who, "%s", e) }
}
