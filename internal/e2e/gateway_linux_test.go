package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// freePort returns a port of 127.0.0.1 that nobody has at this moment.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// TestGatewayServesPhones: what an agent commits its gateway serves, by HTTP and TFTP.
func TestGatewayServesPhones(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	image := bytes.Repeat([]byte("phone"), 40_000)
	if err := os.WriteFile(path("fw.bin"), image, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"init", "--devices", "1", path("keys")},
		{"sign", "--key", path("keys/release.key"), "--product", "phone", "--version", "2", "--compatible", "any", "--out", path("fw.manifest"), path("fw.bin")}} {
		if out, err := exec.Command(filepath.Join(bin, "normsend"), args...).CombinedOutput(); err != nil {
			t.Fatalf("normsend %v: %v: %s", args, err, out)
		}
	}
	rendezvous, web, tftp := freePort(t), freePort(t), freePort(t)
	agent := start(t, nil, "normrecv", "agent", "--server", fmt.Sprintf("http://127.0.0.1:%d", rendezvous), "--trust", path("keys/release.pub"),
		"--trust-server", path("keys/server.pub"), "--product", "phone", "--hardware", "any", "--device-id", "device-1", "--key", path("keys/device-1.key"),
		"--dir", path("device"), "--interface", "127.0.0.1", "--serve", fmt.Sprintf("127.0.0.1:%d", web), "--serve-tftp", fmt.Sprintf("127.0.0.1:%d", tftp))
	server := start(t, nil, "normsend", "upgrade", "--manifest", path("fw.manifest"), "--key", path("keys/server.key"), "--devices", path("keys/devices"),
		"--state", path("state"), "--group", "239.77.3.1:6103", "--interface", "127.0.0.1", "--ttl", "0", "--listen", fmt.Sprintf("127.0.0.1:%d", rendezvous),
		"--commit", "auto", "--rate", "40M", "--linger", "1s", path("fw.bin"))
	agent.awaitEvent("activated")
	if got := server.exit(); got != 0 {
		t.Errorf("the campaign ended with status %d", got)
	}

	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/images/fw.bin", web))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, image) || resp.Header.Get("Repr-Digest") == "" {
		t.Errorf("by HTTP: %s, %d bytes, %v", resp.Status, len(got), err)
	}

	phone, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer phone.Close()
	phone.WriteToUDP([]byte("\x00\x01fw.bin\x00octet\x00tsize\x000\x00"), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: tftp})
	phone.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, 1000)
	n, err := phone.Read(b)
	if want := fmt.Sprintf("\x00\x06tsize\x00%d\x00", len(image)); err != nil || string(b[:n]) != want {
		t.Errorf("by TFTP: %q, %v, want %q", b[:n], err, want)
	}
}
