//go:build unix

package cli

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestNotify is the service manager's side of sd_notify(3).
func TestNotify(t *testing.T) {
	dir, err := os.MkdirTemp("", "notify") // short: the path of a socket has 108 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "s")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	env := map[string]string{"NOTIFY_SOCKET": socket, "WATCHDOG_USEC": "3000000"}
	s := NewService(World{Getenv: func(name string) string { return env[name] }})
	if s.Watchdog != 3*time.Second {
		t.Errorf("watchdog %v, want 3 s", s.Watchdog)
	}
	for _, want := range []string{"READY=1", "WATCHDOG=1"} {
		s.Notify(want)
		b := make([]byte, 100)
		n, err := conn.Read(b)
		if err != nil || string(b[:n]) != want {
			t.Errorf("%q, %v, want %q", b[:n], err, want)
		}
	}
	none := NewService(World{Getenv: func(name string) string {
		if name == "WATCHDOG_USEC" {
			return "3000000"
		}
		return ""
	}})
	none.Notify("READY=1")
	if none.Watchdog != 0 {
		t.Error("there is a watchdog, and nobody to be told")
	}
}
