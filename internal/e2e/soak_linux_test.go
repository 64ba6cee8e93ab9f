package e2e

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/internal/netns"
	"github.com/multicast-upgrade/tool/merkle"
)

var soak = flag.Duration("soak", 0, "how long TestSoak runs campaigns one after the other while things go wrong; 0: not at all")

// A soaking is a fleet server and devices whose campaigns follow each other.
type soaking struct {
	*testing.T
	dir     string
	host    *netns.Host // of the server
	server  *exec.Cmd
	said    bytes.Buffer // by the server; to be read when it has ended
	early   usage        // of the server, after the first campaign that ended since it was started
	devices []*soaked
	rng     *rand.Rand
	address int            // given last, by number in the network
	trouble map[string]int // how often what went wrong
}

// A soaked is a device that follows a server for ever.
type soaked struct {
	*process
	host *netns.Host
	name string
	dir  string
	args []string
}

const soakName = "updates.test"

// TestSoak runs campaigns of images that share most of their leaves with the one before. Meanwhile agents and the server are
// killed and started again, links go down and come back, and addresses change, that of the server as well. Each campaign has
// to end with COMMIT on every device. What the server and one agent that is never killed take at the end is compared with what
// they took after the first campaign of their lives.
//
//	go test ./internal/e2e -run TestSoak -soak 20m -timeout 30m -v
func TestSoak(t *testing.T) {
	if *soak == 0 {
		t.Skip("it takes as long as -soak says")
	}
	netns.Require(t)
	hosts := netns.New(t, 4).Hosts()
	s := &soaking{T: t, dir: t.TempDir(), host: hosts[0], address: len(hosts), trouble: map[string]int{}, rng: rand.New(rand.NewPCG(1, 1))}
	s.run("init", "--devices", "1", "keys")
	s.run("token", "create", "--db", "sqlite:fleet.db", "--role", "admin", "--name", "anna", "--out", "anna.token")
	for _, h := range hosts {
		h.Name(soakName, hosts[0].IPv4())
	}
	s.serve()
	for i, h := range hosts[1:] {
		h.Lose(netns.Loss{Share: 0.02, Port: 6003})
		d := &soaked{host: h, name: fmt.Sprint("device-", i+1), dir: t.TempDir()}
		s.ask("device", "enrol", "--device", d.name, "--out", d.name+".token")
		d.args = []string{"agent", "--server", "https://" + soakName + ":8443", "--trust", s.path("keys/release.pub"), "--trust-server", s.path("keys/server.pub"),
			"--product", "lamp", "--hardware", "rev-b", "--device-id", d.name, "--enrol-token-file", s.path(d.name + ".token"), "--dir", d.dir,
			"--interface", netns.Interface}
		d.start(t)
		s.devices = append(s.devices, d)
	}
	steady := s.devices[2]
	image := make([]byte, 64*merkle.MinLeafSize)
	campaigns := 0
	begun := time.Now()
	var first usage
	for time.Since(begun) < *soak {
		s.change(image)
		s.campaign(campaigns, image, func() {
			s.goWrong(steady, time.Since(begun) < *soak*2/3) // no server has less than a third of it
		})
		if campaigns++; campaigns == 1 {
			first = measure(t, steady.cmd.Process.Pid)
		}
		if s.early == (usage{}) {
			s.early = measure(t, s.server.Process.Pid)
		}
	}
	t.Logf("%d campaigns of %d devices committed in %v; went wrong: %v", campaigns, len(s.devices), time.Since(begun).Round(time.Second), s.trouble)
	s.ends("agent", first, measure(t, steady.cmd.Process.Pid), steady.goroutines(), func() int { steady.start(t); return steady.goroutines() })
	s.ends("server", s.early, measure(t, s.server.Process.Pid), s.goroutines(), func() int {
		s.serve()
		time.Sleep(5 * time.Second) // as idle as the one before
		return s.goroutines()
	})
}

func (s *soaking) path(name string) string { return filepath.Join(s.dir, name) }

// try runs normsend on the server's host.
func (s *soaking) try(args ...string) (out string, err error) {
	c := s.host.Exec(filepath.Join(bin, "normsend"), args...)
	c.Dir = s.dir
	var said bytes.Buffer
	c.Stderr = &said
	b, err := c.Output()
	if err != nil {
		err = fmt.Errorf("normsend %v: %w\n%s", args, err, said.String())
	}
	return strings.TrimSpace(string(b)), err
}

func (s *soaking) run(args ...string) string {
	s.Helper()
	out, err := s.try(args...)
	if err != nil {
		s.Fatal(err)
	}
	return out
}

// ask uses the server as anna, which may just be started again.
func (s *soaking) ask(args ...string) (out string) {
	s.Helper()
	args = append(args, "--server", "https://"+soakName+":8443", "--trust-server", "keys/server.pub", "--token-file", "anna.token")
	s.eventually(args[0]+" "+args[1], func() (err error) { out, err = s.try(args...); return err })
	return out
}

// eventually does something until it works.
func (s *soaking) eventually(what string, f func() error) {
	s.Helper()
	for end := time.Now().Add(3 * time.Minute); ; time.Sleep(500 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			s.Fatalf("%s: %v", what, err)
		}
	}
}

// serve starts the server.
func (s *soaking) serve() {
	s.Helper()
	s.server = s.host.Exec(filepath.Join(bin, "normsend"), "serve", "--db", "sqlite:fleet.db", "--name", "one", "--listen", ":8443", "--advertise", "https://"+soakName+":8443",
		"--key", "keys/server.key", "--trust", "keys/release.pub", "--interface", netns.Interface)
	s.said.Reset()
	s.early = usage{}
	s.server.Dir, s.server.Stderr = s.dir, &s.said
	if err := s.server.Start(); err != nil {
		s.Fatal(err)
	}
	server := s.server
	s.Cleanup(func() { server.Process.Kill() })
}

func (d *soaked) start(t *testing.T) {
	t.Helper()
	d.process = start(t, d.host, "normrecv", d.args...)
	d.awaitEvent("listening")
}

// change makes another image of the one before: a tenth of its leaves, or, every fifth time, all.
func (s *soaking) change(image []byte) {
	every := s.rng.IntN(5) == 0
	for leaf := range slices.Chunk(image, merkle.MinLeafSize) {
		if every || s.rng.IntN(10) == 0 {
			var seed [32]byte
			for i := range seed {
				seed[i] = byte(s.rng.Uint32())
			}
			rand.NewChaCha8(seed).Read(leaf)
		}
	}
}

// campaign brings an image to all devices, while goWrong is called again and again.
func (s *soaking) campaign(n int, image []byte, goWrong func()) {
	s.Helper()
	if err := os.WriteFile(s.path("fw.bin"), image, 0o644); err != nil {
		s.Fatal(err)
	}
	s.run("sign", "--key", "keys/release.key", "--product", "lamp", "--version", fmt.Sprint("1.", n), "--compatible", "rev-b", "--out", "fw.manifest", "fw.bin")
	release := s.ask("release", "upload", "--manifest", "fw.manifest", "fw.bin")
	id := s.ask("campaign", "create", "--name", fmt.Sprint("soak-", n), "--release", release, "--product", "lamp", "--rate", "8M", "--commit", "auto")
	s.ask("campaign", "start", id)
	var st struct{ Phase, Verdict string }
	for end := time.Now().Add(5 * time.Minute); st.Phase != "closed"; {
		goWrong()
		if err := json.Unmarshal([]byte(s.ask("campaign", "show", id, "--json")), &st); err != nil {
			s.Fatal(err)
		}
		if time.Now().After(end) {
			s.Fatalf("campaign %d does not end: %+v\n%s", n, st, s.ask("campaign", "show", id, "--devices"))
		}
	}
	for _, d := range s.devices {
		if got, err := os.ReadFile(filepath.Join(d.dir, "current", "fw.bin")); err != nil || !bytes.Equal(got, image) {
			s.Fatalf("campaign %d: %s does not have the image (%v): %+v\n%s", n, d.name, err, st, s.ask("campaign", "show", id, "--devices"))
		}
	}
}

// goWrong lets something go wrong, and some time pass.
func (s *soaking) goWrong(steady *soaked, server bool) {
	s.Helper()
	time.Sleep(time.Duration(1000+s.rng.IntN(3000)) * time.Millisecond)
	d := s.devices[s.rng.IntN(len(s.devices))]
	what := "nothing"
	switch n := s.rng.IntN(60); { // a server that is killed costs a lease, in which nobody leads the campaign
	case n < 12 && d != steady:
		what = "agent killed"
		d.kill()
		time.Sleep(time.Duration(s.rng.IntN(2000)) * time.Millisecond)
		d.start(s.T)
	case n < 20:
		what = "device readdressed"
		s.address++
		d.host.Readdress(5 + s.address%240)
	case n < 30:
		what = "cable pulled"
		d.host.Disconnect()
		time.Sleep(time.Duration(1000+s.rng.IntN(4000)) * time.Millisecond)
		d.host.Connect()
	case n == 30 && server:
		what = "server killed"
		s.server.Process.Kill()
		s.server.Wait()
		s.serve()
	case n == 31 && server:
		what = "server readdressed"
		s.server.Process.Kill()
		s.server.Wait()
		s.address++
		at := s.host.Readdress(5 + s.address%240)
		for _, h := range append([]*netns.Host{s.host}, hostsOf(s.devices)...) {
			h.Name(soakName, at)
		}
		s.serve()
	}
	s.trouble[what]++
}

func hostsOf(devices []*soaked) (hosts []*netns.Host) {
	for _, d := range devices {
		hosts = append(hosts, d.host)
	}
	return hosts
}

// A usage is what a process takes.
type usage struct{ resident, files, threads int }

// measure returns what a process takes now.
func measure(t *testing.T, pid int) (u usage) {
	t.Helper()
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	u.files = len(files)
	for line := range strings.Lines(string(status)) {
		fmt.Sscanf(line, "VmRSS: %d", &u.resident)
		fmt.Sscanf(line, "Threads: %d", &u.threads)
	}
	return u
}

// goroutines ends a process and returns how many goroutines it had.
func (d *soaked) goroutines() int {
	time.Sleep(5 * time.Second) // so that it is idle
	d.cmd.Process.Signal(syscall.SIGQUIT)
	<-d.done
	return strings.Count(d.stderr.String(), "\ngoroutine ")
}

func (s *soaking) goroutines() int {
	s.server.Process.Signal(syscall.SIGQUIT)
	s.server.Wait()
	return strings.Count(s.said.String(), "\ngoroutine ")
}

// ends compares what a process took, and has taken at its end.
func (s *soaking) ends(what string, before, after usage, goroutines int, fresh func() int) {
	s.Helper()
	idle := fresh()
	s.Logf("%s: resident %d KiB, then %d; files %d, then %d; threads %d, then %d; goroutines %d, and %d of one just started", what,
		before.resident, after.resident, before.files, after.files, before.threads, after.threads, goroutines, idle)
	if after.files > before.files+10 || goroutines > idle+20 || after.resident > before.resident+32<<10 {
		s.Errorf("%s: it takes more and more", what)
	}
}
