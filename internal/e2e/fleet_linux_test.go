package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/multicast-upgrade/tool/internal/netns"
)

// A fleet is one server and devices that each run an agent on a host of their own.
type fleet struct {
	t       testing.TB
	server  *netns.Host
	group   netip.AddrPort
	dir     string // keys, release and image
	state   string // of the campaign
	image   string
	sum     string
	devices []*device
}

// A device is the agent of one host, over several lives.
type device struct {
	*process // the present one
	fleet    *fleet
	host     *netns.Host
	name     string
	dir      string
	hooks    string   // where its hooks write what they were called for
	args     []string // of all its lives
}

// hook is a program for all hooks: it writes down the step and the activation, waits for hooks of other devices to have been
// called if a file of the step's name lists them, and fails if another file says so.
const hook = `#!/bin/sh
echo "$1 $UPGRADE_ACTIVATION_ID" >>"$2/calls"
if [ -e "$2/after-$1" ]; then
	while read -r other; do until [ -s "$other/calls" ]; do sleep 0.05; done; done <"$2/after-$1"
fi
test ! -e "$2/fail-$1"
`

// fleetGroup is where fleets are served.
var fleetGroup = netip.MustParseAddrPort("239.77.2.1:6003")

// newFleet makes a server, host 0, and devices on the hosts behind it.
func newFleet(t *testing.T, devices, size int) *fleet {
	netns.Require(t)
	hosts := netns.New(t, 1+devices).Hosts()
	return newFleetOn(t, hosts[0], hosts[1:], size)
}

// newFleetOn makes keys, a release of size bytes, and devices on hosts that lose a twentieth of what is multicast.
func newFleetOn(t *testing.T, server *netns.Host, hosts []*netns.Host, size int) *fleet {
	f := &fleet{t: t, server: server, group: fleetGroup, dir: t.TempDir()}
	f.state = filepath.Join(f.dir, "state")
	f.image = filepath.Join(f.dir, "fw.bin")
	f.sum = writeImage(t, f.image, size, 2)
	f.normsend("init", "--devices", fmt.Sprint(len(hosts)), f.path("keys"))
	f.sign()
	for i, host := range hosts {
		host.Lose(netns.Loss{Share: 0.05, Group: f.group.Addr(), Port: f.group.Port()})
		d := &device{fleet: f, host: host, name: fmt.Sprint("device-", i+1), dir: t.TempDir(), hooks: t.TempDir()}
		program := filepath.Join(d.hooks, "hook")
		if err := os.WriteFile(program, []byte(hook), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, step := range []string{"verify", "activate", "health", "rollback"} {
			d.args = append(d.args, "--"+step+"-cmd", fmt.Sprintf("%s %s %s", program, step, d.hooks))
		}
		f.devices = append(f.devices, d)
	}
	return f
}

func (f *fleet) path(name string) string { return filepath.Join(f.dir, name) }

func (f *fleet) url() string { return fmt.Sprintf("https://%v:8443", f.server.IPv4()) }

// normsend runs a command on the server's host to its end.
func (f *fleet) normsend(args ...string) (stdout string) {
	f.t.Helper()
	cmd := f.server.Exec(filepath.Join(bin, "normsend"), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		f.t.Fatalf("normsend %v: %v\n%s", args, err, stderr.String())
	}
	return string(out)
}

// sign makes a release of the image, newer than all before.
func (f *fleet) sign() {
	f.t.Helper()
	f.normsend("sign", "--key", f.path("keys/release.key"), "--product", "lamp", "--version", "2.1", "--compatible", "rev-b",
		"--out", f.path("fw.manifest"), f.image)
}

// serve starts a new campaign.
func (f *fleet) serve(args ...string) *process {
	f.t.Helper()
	return start(f.t, f.server, "normsend", append([]string{"upgrade", "--manifest", f.path("fw.manifest"), "--key", f.path("keys/server.key"),
		"--devices", f.path("keys/devices"), "--state", f.state, "--group", f.group.String(), "--interface", netns.Interface,
		"--listen", fmt.Sprintf("%v:8443", f.server.IPv4()), "--commit", "auto", "--rate", "40M", "--grtt", "20ms", "--group-size", "10",
		"--linger", "1s", f.image}, args...)...)
}

// resume starts the server's process again.
func (f *fleet) resume() *process {
	f.t.Helper()
	return start(f.t, f.server, "normsend", "upgrade", "--state", f.state, "--key", f.path("keys/server.key"), "--linger", "1s")
}

// join starts an agent for one campaign.
func (d *device) join() {
	d.fleet.t.Helper()
	f := d.fleet
	d.process = start(f.t, d.host, "normrecv", append([]string{"agent", "--server", f.url(), "--trust", f.path("keys/release.pub"),
		"--trust-server", f.path("keys/server.pub"), "--product", "lamp", "--hardware", "rev-b", "--device-id", d.name,
		"--key", f.path("keys/" + d.name + ".key"), "--dir", d.dir, "--interface", netns.Interface, "--once"}, d.args...)...)
}

func (f *fleet) join() {
	f.t.Helper()
	for _, d := range f.devices {
		d.join()
	}
}

// fail makes a hook fail from now on, or not any more.
func (d *device) fail(step string, on bool) {
	d.fleet.t.Helper()
	path := filepath.Join(d.hooks, "fail-"+step)
	var err error
	if on {
		err = os.WriteFile(path, nil, 0o644)
	} else {
		err = os.Remove(path)
	}
	if err != nil {
		d.fleet.t.Fatal(err)
	}
}

// failLast makes a hook fail after a hook of each other device was called.
func (d *device) failLast(step string) {
	d.fleet.t.Helper()
	var others strings.Builder
	for _, other := range d.fleet.devices {
		if other != d {
			fmt.Fprintln(&others, other.hooks)
		}
	}
	if err := os.WriteFile(filepath.Join(d.hooks, "after-"+step), []byte(others.String()), 0o644); err != nil {
		d.fleet.t.Fatal(err)
	}
	d.fail(step, true)
}

// calls returns the steps that hooks were called for, in order, and how many activations they name.
func (d *device) calls() (steps []string, activations int) {
	content, _ := os.ReadFile(filepath.Join(d.hooks, "calls"))
	ids := map[string]bool{}
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		steps = append(steps, fields[0])
		if len(fields) > 1 {
			ids[fields[1]] = true
		}
	}
	return steps, len(ids)
}

// wantCalls holds which hooks were called, each once.
func (d *device) wantCalls(want ...string) {
	d.fleet.t.Helper()
	if got, _ := d.calls(); !slices.Equal(got, want) {
		d.fleet.t.Errorf("%s: hooks called: %v, want %v", d.name, got, want)
	}
}

// wantExit holds how a process ends.
func (p *process) wantExit(want int) {
	p.t.Helper()
	if got := p.exit(); got != want {
		p.t.Errorf("%s ended with status %d, want %d", p.name, got, want)
	}
}

// status asks the agent's directory, from another process, where the device is.
func (d *device) status() event {
	d.fleet.t.Helper()
	out, err := d.host.Exec(filepath.Join(bin, "normrecv"), "status", "--dir", d.dir, "--json").Output()
	var e event
	if err == nil {
		err = json.Unmarshal(out, &e)
	}
	if err != nil {
		d.fleet.t.Fatalf("normrecv status: %v", err)
	}
	return e
}

// deviceIn matches what the server says when a device gets into a state.
func deviceIn(name, state string) func(event) bool {
	return func(e event) bool { return e.kind() == "device" && e["device"] == name && e["state"] == state }
}
