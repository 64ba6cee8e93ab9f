package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestOfflineDeviceActivatesAtItsTime: once a device has the decision it needs nobody any more.
func TestOfflineDeviceActivatesAtItsTime(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2, fleetImage)
	f.join()
	server := f.serve("--not-before", time.Now().Add(15*time.Second).UTC().Format(time.RFC3339))
	lost := f.devices[1]
	for _, d := range f.devices {
		d.awaitEvent("decision")
	}
	lost.host.Disconnect()
	lost.awaitEvent("activated")
	lost.wantCalls("verify", "activate", "health")
	lost.host.Connect()
	server.wantExit(0)
	for _, d := range f.devices {
		d.wantExit(0)
	}
}

// slotHook switches to the slot with the image, once for each activation.
const slotHook = `#!/bin/sh
test "$1" != activate || echo "$UPGRADE_SLOT" >"$2/boot"
`

// TestServiceWithSlots is an agent under a service manager, whose image goes to one of two slots.
func TestServiceWithSlots(t *testing.T) {
	dir, err := os.MkdirTemp("", "e2e") // short: the path of a socket has 108 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	said := make(chan string, 1000)
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := manager.Read(b)
			if err != nil {
				return
			}
			said <- string(b[:n])
		}
	}()

	f := newFleet(t, 1, fleetImage)
	d := f.devices[0]
	old := bytes.Repeat([]byte("old"), fleetImage)
	for name, content := range map[string][]byte{"a": old, "b": make([]byte, 2*fleetImage), "boot": []byte("A\n"), "hook": []byte(slotHook), "current": []byte("#!/bin/sh\ncat " + dir + "/boot\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	d.args = []string{"--slots", fmt.Sprintf("A=%s/a,B=%s/b", dir, dir), "--slot-current-cmd", dir + "/current", "--window", "00:00-24:00",
		"--activate-cmd", fmt.Sprintf("%s/hook activate %s", dir, dir)}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "notify"))
	t.Setenv("WATCHDOG_USEC", "200000")
	d.join()
	server := f.serve()
	server.wantExit(0)
	d.wantExit(0)

	if boot, err := os.ReadFile(dir + "/boot"); string(boot) != "B\n" {
		t.Errorf("slot %q runs, %v", boot, err)
	}
	image, _ := os.ReadFile(f.image)
	if got, _ := os.ReadFile(dir + "/b"); len(got) != 2*fleetImage || !bytes.Equal(got[:len(image)], image) {
		t.Error("slot B does not hold the image")
	}
	if got, _ := os.ReadFile(dir + "/a"); !bytes.Equal(got, old) {
		t.Error("the slot that ran was written to")
	}
	for _, want := range []string{"READY=1", "WATCHDOG=1", "STATUS=", "STOPPING=1"} {
		for {
			select {
			case got := <-said:
				if !strings.HasPrefix(got, want) {
					continue
				}
			case <-time.After(patience):
				t.Fatalf("the service manager was not told %s", want)
			}
			break
		}
	}
}
