package e2e

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/internal/pgtest"
)

// A hall is a fleet server, or several on one database, with devices, all on this host: multicast stays on loopback.
type hall struct {
	*testing.T
	dir string
	db  string
}

func newHall(t *testing.T, db string, size int) *hall {
	h := &hall{T: t, dir: t.TempDir(), db: db}
	writeImage(t, h.path("fw.bin"), size, 2)
	h.run("init", "--devices", "2", "keys")
	h.run("sign", "--key", "keys/release.key", "--product", "lamp", "--version", "2.1", "--compatible", "rev-b", "--out", "fw.manifest", "fw.bin")
	h.run("token", "create", "--db", db, "--role", "admin", "--name", "anna", "--out", "anna.token")
	return h
}

func (h *hall) path(name string) string { return filepath.Join(h.dir, name) }

// run runs normsend to its end, with the flags of people, and returns what it printed.
func (h *hall) run(args ...string) string {
	h.Helper()
	c := exec.CommandContext(h.Context(), filepath.Join(bin, "normsend"), args...)
	c.Dir = h.dir
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		h.Fatalf("normsend %v: %v\n%s", args, err, said.String())
	}
	return strings.TrimSpace(string(out))
}

// A served is one normsend serve.
type served struct {
	*hall
	cmd *exec.Cmd
	url string
}

var servingAt = regexp.MustCompile(`msg=serving url=(\S+)`)

// serve starts a server at an address of this host, and returns when it serves.
func (h *hall) serve(name, listen string, more ...string) *served {
	h.Helper()
	args := []string{"serve", "--db", h.db, "--name", name, "--listen", listen, "--key", "keys/server.key", "--trust", "keys/release.pub", "--interface", "lo", "--ttl", "0"}
	s := &served{hall: h, cmd: exec.Command(filepath.Join(bin, "normsend"), append(args, more...)...)}
	s.cmd.Dir = h.dir
	said, err := s.cmd.StderrPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(s.kill)
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		if m := servingAt.FindStringSubmatch(lines.Text()); m != nil {
			s.url = m[1]
			go io.Copy(io.Discard, said)
			return s
		}
	}
	h.Fatalf("server %s ended before it served", name)
	return nil
}

// kill ends the server as a power cut does.
func (s *served) kill() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

// stop asks the server to end, and waits until it has.
func (s *served) stop() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		s.Errorf("the server that was asked to end: %v", err)
	}
}

func (s *served) address() string { return strings.TrimPrefix(s.url, "https://") }

// ask uses the server as anna.
func (s *served) ask(args ...string) string {
	s.Helper()
	return s.run(append(args, "--server", s.url, "--trust-server", "keys/server.pub", "--token-file", "anna.token")...)
}

// status returns where a campaign is, as the server tells.
func (s *served) status(campaign string) (st struct{ Leader, Phase, Verdict string }) {
	s.Helper()
	out := s.ask("campaign", "show", campaign, "--json")
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		s.Fatalf("%v:\n%s", err, out)
	}
	return st
}

// agent starts a device that talks to one server, with a certificate of the name given.
func (s *served) agent(device, certificate string, more ...string) *process {
	s.Helper()
	args := []string{"agent", "--server", s.url, "--trust", s.path("keys/release.pub"), "--trust-server", s.path("keys/server.pub"), "--product", "lamp",
		"--hardware", "rev-b", "--device-id", device, "--dir", s.path("dir-" + device), "--interface", "lo", "--once"}
	if certificate != "" {
		args = append(args, "--tls-cert", s.path(certificate+".pem"), "--tls-key", s.path(certificate+".key"))
	}
	return start(s.T, nil, "normrecv", append(args, more...)...)
}

// An authority certifies devices.
type authority struct {
	hall *hall
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (h *hall) authority(file string) *authority {
	h.Helper()
	a := &authority{hall: h, cert: &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: file}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}}
	a.key = a.make(file, a.cert, a.cert, nil)
	return a
}

// certify makes a certificate of a device, in files of a name.
func (a *authority) certify(file, device string) {
	a.make(file, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: device}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, a.cert, a.key)
}

func (a *authority) make(file string, cert, by *x509.Certificate, signer *ecdsa.PrivateKey) *ecdsa.PrivateKey {
	a.hall.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.hall.Fatal(err)
	}
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, by, key.Public(), signer)
	if err != nil {
		a.hall.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.hall.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{file + ".pem": {Type: "CERTIFICATE", Bytes: der}, file + ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(a.hall.path(name), pem.EncodeToMemory(block), 0o600); err != nil {
			a.hall.Fatal(err)
		}
	}
	return key
}

// certified has a server ask devices for certificates of the authority of that name.
var certified = []string{"--client-ca", "ca.pem"}

// A server with --client-ca talks to devices with their own certificates, and tells all others why it does not.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	h := newHall(t, "sqlite:fleet.db", 300_000)
	h.authority("ca").certify("device-1", "device-1")
	h.authority("other-ca").certify("forged", "device-1")
	s := h.serve("one", "127.0.0.1:0", certified...)
	h.run("device", "enrol", "--device", "device-1", "--out", "device-1.token", "--server", s.url, "--trust-server", "keys/server.pub", "--token-file", "anna.token")
	for certificate, want := range map[string]string{
		"":       "wants a client certificate of an authority that it knows, with the device's name",
		"forged": "wants a client certificate of an authority that it knows, with the device's name",
	} {
		p := s.agent("device-2", certificate)
		e := p.await("a refusal", func(e event) bool { return e.kind() == "trouble" })
		if detail, _ := e["detail"].(string); !strings.Contains(detail, want) || strings.Contains(detail, "\n") || e["reason"] != "certificate" {
			t.Errorf("with certificate %q: %v, want %q", certificate, e, want)
		}
		p.cmd.Process.Kill()
		<-p.done
	}
	p := s.agent("device-2", "device-1") // which is another's
	e := p.await("a refusal", func(e event) bool { return e.kind() == "trouble" })
	if detail, _ := e["detail"].(string); !strings.Contains(detail, `is that of "device-1", another device`) || e["reason"] != "not-target" {
		t.Errorf("with the certificate of another device: %v", e)
	}
	p.cmd.Process.Kill()
	<-p.done

	device := s.agent("device-1", "device-1", "--enrol-token-file", h.path("device-1.token"))
	s.examine(device, "device-1")
	s.upgrade(device)
}

// examine has a device find out how multicast reaches it from the server, by real sockets.
func (s *served) examine(p *process, device string) {
	s.Helper()
	s.untilApproved(1)
	s.ask("device", "examine", device)
	p.awaitEvent("examined")
	var shown string
	for end := time.Now().Add(patience); !strings.Contains(shown, "as it found it"); time.Sleep(100 * time.Millisecond) {
		if shown = s.ask("device", "show", device); time.Now().After(end) {
			s.Fatalf("the server was not told:\n%s", shown)
		}
	}
	for _, want := range []string{`ok +reception +\d+ messages of the doctor at \S+ by the group`, `ok +feedback to the group`, `ok +feedback by unicast`, `ok +mtu`} {
		if !regexp.MustCompile(want).MatchString(shown) {
			s.Errorf("want %q in what was found:\n%s", want, shown)
		}
	}
	if sites := s.ask("device", "doctor", "--json"); !strings.Contains(sites, `"asked":1`) || !strings.Contains(sites, `"waiting":0`) {
		s.Errorf("by site: %s", sites)
	}
}

// upgrade runs a campaign for the devices that are enrolled.
func (s *served) upgrade(devices ...*process) {
	s.Helper()
	id := s.campaign(len(devices), "10M", "auto")
	for _, d := range devices {
		d.wantExit(0)
	}
	if st := s.status(id); st.Verdict != "COMMIT" {
		s.Errorf("the campaign is %+v", st)
	}
}

// campaign starts one as soon as so many devices are approved.
func (s *served) campaign(devices int, rate, commit string) (id string) {
	s.Helper()
	release := s.ask("release", "upload", "--manifest", "fw.manifest", "fw.bin")
	id = s.ask("campaign", "create", "--name", "spring", "--release", release, "--product", "lamp", "--rate", rate, "--commit", commit)
	s.untilApproved(devices)
	s.ask("campaign", "start", id)
	return id
}

// untilApproved waits until so many devices are.
func (s *served) untilApproved(devices int) {
	s.Helper()
	for end := time.Now().Add(patience); strings.Count(s.ask("device", "list", "--key", "approved", "--json"), `"event":"device"`) < devices; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			s.Fatal("the devices did not come")
		}
	}
}

// Two servers on one PostgreSQL: the one that leads a campaign is killed in the middle of the transfer, and later the other
// is stopped and started again. Devices of both end with the new image, and no acknowledged word is lost.
func TestServersStandInForEachOther(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes as long as a lease")
	}
	h := newHall(t, pgtest.New(t), 6_000_000)
	t.Cleanup(func() { pgtest.Stop() })
	ca := h.authority("ca")
	servers := []*served{h.serve("one", fmt.Sprint("127.0.0.1:", freePort(t)), certified...), h.serve("two", fmt.Sprint("127.0.0.1:", freePort(t)), certified...)}
	var devices []*process
	for i, s := range servers {
		name := []string{"device-1", "device-2"}[i]
		ca.certify(name, name)
		s.ask("device", "enrol", "--device", name, "--out", name+".token")
		devices = append(devices, s.agent(name, name, "--enrol-token-file", h.path(name+".token")))
	}
	id := servers[0].campaign(2, "4M", "ask")
	for _, d := range devices {
		d.await("half of the image", func(e event) bool { b, _ := e["bytes"].(float64); return e.kind() == "progress" && b > 2_000_000 })
	}
	leader, other := servers[0], servers[1]
	if other.status(id).Leader == "two" {
		leader, other = other, leader
	}
	listen := leader.address()
	leader.kill()
	for end := time.Now().Add(patience); other.status(id).Leader == "" || other.status(id).Leader == leaderName(servers, leader); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody leads the campaign")
		}
	}
	back := h.serve(leaderName(servers, leader), listen, certified...)
	for _, d := range devices {
		d.awaitEvent("ready")
	}
	address := other.address()
	other.stop() // asked to: the other one leads at once
	again := h.serve(leaderName(servers, other), address, certified...)
	for end := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		c := exec.Command(filepath.Join(bin, "normsend"), "campaign", "commit", id, "--server", again.url, "--trust-server", "keys/server.pub", "--token-file", "anna.token")
		c.Dir = h.dir
		out, err := c.CombinedOutput()
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the campaign cannot be committed: %s", out)
		}
	}
	for _, d := range devices {
		d.wantExit(0)
	}
	if st := back.status(id); st.Verdict != "COMMIT" {
		t.Errorf("the campaign is %+v", st)
	}
}

func leaderName(servers []*served, s *served) string {
	if s == servers[0] {
		return "one"
	}
	return "two"
}
