package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/multicast-upgrade/tool/internal/netns"
)

const imageSize = 20_000_000

// writeImage writes a file of bytes that do not compress, and returns its SHA-256 in hexadecimal.
func writeImage(t testing.TB, path string, size int, seed byte) (sum string) {
	t.Helper()
	content := make([]byte, size)
	rand.NewChaCha8([32]byte{seed}).Read(content)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return sumOf(content)
}

// sumOf returns the SHA-256 of content in hexadecimal.
func sumOf(content []byte) string {
	digest := sha256.Sum256(content)
	return hex.EncodeToString(digest[:])
}

// lossyNet makes a sender, host 0, and receivers that each lose a share of what is sent to the group.
func lossyNet(t testing.TB, receivers int, group netip.AddrPort, share float64) *netns.Net {
	t.Helper()
	netns.Require(t)
	net := netns.New(t, 1+receivers)
	for _, h := range net.Hosts()[1:] {
		h.Lose(netns.Loss{Share: share, Group: group.Addr(), Port: group.Port()})
	}
	return net
}

// A transfer is one file on its way from host 0 to the others.
type transfer struct {
	t         testing.TB
	net       *netns.Net
	group     netip.AddrPort
	path, sum string
	receivers map[*netns.Host]*process
	out       map[*netns.Host]string
	flags     []string // more of them for the receivers
}

func newTransfer(t testing.TB, group string, receivers int) *transfer {
	g := netip.MustParseAddrPort(group)
	x := &transfer{
		t: t, net: lossyNet(t, receivers, g, 0.2), group: g, path: filepath.Join(t.TempDir(), "image.bin"),
		receivers: make(map[*netns.Host]*process), out: make(map[*netns.Host]string),
	}
	x.sum = writeImage(t, x.path, imageSize, 1)
	return x
}

// receive starts receivers and waits until they listen.
func (x *transfer) receive(hosts ...*netns.Host) {
	x.t.Helper()
	for _, h := range hosts {
		x.out[h] = x.t.TempDir()
		x.receivers[h] = start(x.t, h, "normrecv", append([]string{"file", "--group", x.group.String(), "--interface", netns.Interface,
			"--out", x.out[h], "--count", "1"}, x.flags...)...)
	}
	for _, h := range hosts {
		x.receivers[h].awaitEvent("listening")
	}
}

func (x *transfer) send(args ...string) *process {
	x.t.Helper()
	return start(x.t, x.net.Host(0), "normsend", append([]string{"file", "--group", x.group.String(), "--interface", netns.Interface,
		"--rate", "50M", "--grtt", "50ms", "--group-size", "10", "--linger", "2s", x.path}, args...)...)
}

// complete waits for all receivers, and holds that each has the file, nothing else, and did lose datagrams.
func (x *transfer) complete() {
	x.t.Helper()
	for h, p := range x.receivers {
		if status := p.exit(); status != 0 {
			x.t.Errorf("a receiver ended with status %d", status)
			continue
		}
		e := p.awaitEvent("complete")
		if e["name"] != "image.bin" || e["sha256"] != x.sum || e["size"] != float64(imageSize) {
			x.t.Errorf("complete: %v; want image.bin, %d bytes, SHA-256 %s", e, imageSize, x.sum)
		}
		content, err := os.ReadFile(filepath.Join(x.out[h], "image.bin"))
		if err != nil || sumOf(content) != x.sum {
			x.t.Errorf("on disk: %d bytes, SHA-256 %s, %v", len(content), sumOf(content), err)
		}
		if files, err := os.ReadDir(x.out[h]); err != nil || len(files) != 1 {
			x.t.Errorf("left behind: %v, %v", files, err)
		}
		if lost := h.Lost(); lost < imageSize/1400/20 {
			x.t.Errorf("lost %d datagrams only", lost)
		}
	}
}

func TestFileReachesFourLossyReceivers(t *testing.T) {
	t.Parallel()
	for _, group := range []string{"239.77.1.1:6003", "[ff15::77:1]:6003"} {
		t.Run(group, func(t *testing.T) {
			t.Parallel()
			x := newTransfer(t, group, 4)
			x.receive(x.net.Hosts()[1:]...)
			sender := x.send()
			x.complete()
			if status := sender.exit(); status != 0 {
				t.Errorf("the sender ended with status %d", status)
			}
			x.describe(sender)
		})
	}
}

// describe logs what the transfer took.
func (x *transfer) describe(sender *process) {
	x.t.Helper()
	st, _ := sender.awaitEvent("stats")["sender"].(map[string]any)
	line := fmt.Sprintf("sender: %v datagrams, %v repairs, %v NACKs, GRTT %.4f s", st["datagrams"], st["repairs"], st["nacks_heard"], st["grtt"])
	for _, p := range x.receivers {
		line += fmt.Sprintf("; %.1f s", p.awaitEvent("complete")["seconds"])
	}
	x.t.Log(line)
}

// half matches the report that half of the file is sent.
func half(e event) bool {
	bytes, _ := e["bytes"].(float64)
	return e.kind() == "progress" && bytes >= imageSize/2
}

func TestReceiverJoinsHalfway(t *testing.T) {
	t.Parallel()
	x := newTransfer(t, "239.77.1.2:6003", 4)
	hosts := x.net.Hosts()[1:]
	x.receive(hosts[:3]...)
	sender := x.send()
	e := sender.await("half of the file", half)
	if e["bytes"] == float64(imageSize) {
		t.Error("everything was sent before the late receiver came")
	}
	x.receive(hosts[3])
	x.complete()
	if status := sender.exit(); status != 0 {
		t.Errorf("the sender ended with status %d", status)
	}
	x.describe(sender)
}

// TestReceiverComesWhileTheSenderLingers: all is sent, nobody was there, and the FLUSHes behind it are over.
func TestReceiverComesWhileTheSenderLingers(t *testing.T) {
	netns.Require(t)
	net, path, out := netns.New(t, 2), filepath.Join(t.TempDir(), "image.bin"), t.TempDir()
	sum := writeImage(t, path, 100_000, 3)
	args := []string{"file", "--group", "239.77.1.11:6003", "--interface", netns.Interface}
	sender := start(t, net.Host(0), "normsend", append(args, "--rate", "50M", "--grtt", "5ms", "--linger", "30s", path)...)
	reports := 3 // 0.5 s from one to the next; the FLUSHes take 0.2 s
	sender.await("three reports", func(e event) bool {
		if e.kind() == "progress" {
			reports--
		}
		return reports == 0
	})
	receiver := start(t, net.Host(1), "normrecv", append(args, "--out", out, "--count", "1")...)
	if e := receiver.awaitEvent("complete"); e["sha256"] != sum {
		t.Errorf("SHA-256 %v, want %v", e["sha256"], sum)
	}
}

func TestSenderIsKilledAndRestarted(t *testing.T) {
	t.Parallel()
	for what, args := range map[string][]string{
		"same node":  {"--node-id", "17"},
		"other node": nil,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			x := newTransfer(t, "239.77.1.3:6003", 4)
			x.receive(x.net.Hosts()[1:]...)
			first := x.send(args...)
			first.await("half of the file", half)
			first.kill()
			for _, p := range x.receivers {
				if len(p.all("complete")) > 0 {
					t.Error("complete before the sender was killed")
				}
			}
			second := x.send(args...)
			x.complete()
			if status := second.exit(); status != 0 {
				t.Errorf("the sender ended with status %d", status)
			}
			x.describe(second)
			for _, p := range x.receivers {
				if got := slices.Collect(func(yield func(any) bool) {
					for _, e := range p.all("sender") {
						if !yield(e["instance"]) {
							return
						}
					}
				}); len(got) != 2 {
					t.Errorf("senders by instance: %v, want two", got)
				}
			}
		})
	}
}
