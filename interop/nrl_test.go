//go:build linux

package interop

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/multicast-upgrade/tool/internal/netns"
	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
)

// A program is one of peers/*.cpp, compiled when it is first needed.
type program struct {
	name    string // without .cpp
	library string // as the linker calls it
	pkg     string // as pkg-config calls it
	once    sync.Once
	path    string
	err     error
}

var (
	nrlProgram = &program{name: "nrl", library: "norm", pkg: "norm"}
	bin        string // where programs are compiled to
)

func TestMain(m *testing.M) {
	flag.Set("test.parallel", together)
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "interop")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		bin = dir
		return m.Run()
	}())
}

// require returns the path of the program; the test needs it.
func (p *program) require(t *testing.T) string {
	t.Helper()
	p.once.Do(func() { p.path, p.err = p.compile() })
	need(t, p.err)
	return p.path
}

// need skips the test for what is amiss; with REQUIRE_INTEROP=1 it fails it.
func need(t *testing.T, amiss error) {
	t.Helper()
	switch {
	case amiss == nil:
	case os.Getenv("REQUIRE_INTEROP") == "1":
		t.Fatalf("REQUIRE_INTEROP=1, but %v", amiss)
	default:
		t.Skipf("no live exchange: %v", amiss)
	}
}

func (p *program) compile() (string, error) {
	if _, err := exec.LookPath("g++"); err != nil {
		return "", fmt.Errorf("g++ is not installed")
	}
	flags := []string{"-l" + p.library}
	if out, err := exec.Command("pkg-config", "--cflags", "--libs", p.pkg).Output(); err == nil {
		flags = strings.Fields(string(out))
	}
	path := filepath.Join(bin, p.name)
	args := append([]string{"-std=c++17", "-O1", "-Wall", "-Wextra", "-o", path, filepath.Join("peers", p.name+".cpp")}, flags...)
	if out, err := exec.Command("g++", args...).CombinedOutput(); err != nil {
		line, _, _ := strings.Cut(string(out), "\n")
		return "", fmt.Errorf("peers/%s.cpp cannot be compiled (is lib%s with its headers installed?): %s", p.name, p.library, line)
	}
	return path, nil
}

// start runs the program on a host, nil being this one, until its standard input ends.
func (p *program) start(t *testing.T, host *netns.Host, name string, args ...string) *peer {
	t.Helper()
	cmd := command(t, host, p.require(t), args...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	peer := startProcess(t, cmd, name, stdin.Close, func(line []byte) (e event, err error) {
		if err := json.Unmarshal(line, &e); err != nil || e.Path == "" {
			return e, err
		}
		b, err := os.ReadFile(e.Path)
		e.SHA256, e.Size = digest(b), int64(len(b))
		return e, err
	})
	peer.input = stdin
	peer.await(t, "ready")
	return peer
}

// nrl is NRL's implementation.
var nrl = implementation{name: "NRL", send: nrlSend, receive: nrlReceive}

func nrlSend(t *testing.T, n node) *peer {
	t.Helper()
	args := n.nrlArgs("send")
	args = append(args,
		fmt.Sprintf("instance=%d", n.instance),
		fmt.Sprintf("segment=%d", n.code.SegmentSize), fmt.Sprintf("block=%d", n.code.MaxBlockLen), fmt.Sprintf("parity=%d", n.code.MaxParity),
		fmt.Sprintf("auto=%d", n.auto), fmt.Sprintf("rate=%.0f", n.rate), fmt.Sprintf("grtt=%g", n.grtt.Seconds()),
		fmt.Sprintf("backoff=%d", max(n.backoff, 0)),
	)
	if n.code.ID != fec.ReedSolomonGF8 { // which is what it takes by default, with up to 255 symbols
		args = append(args, fmt.Sprintf("fec=%d", n.code.ID))
	}
	if n.unicast {
		args = append(args, "unicast=")
	}
	if n.control {
		args = append(args, "cc=")
	}
	if n.robust > 0 {
		args = append(args, fmt.Sprintf("robust=%d", n.robust))
	}
	var acks []string
	for _, id := range n.acks {
		acks = append(acks, fmt.Sprint(id))
	}
	if acks != nil {
		args = append(args, "ack="+strings.Join(acks, ","))
	}
	dir := t.TempDir()
	for i, o := range n.objects {
		path := filepath.Join(dir, fmt.Sprint(i))
		if len(o.content) == 0 && o.kind == norm.Data {
			path = ""
		} else if err := os.WriteFile(path, o.content, 0o600); err != nil {
			t.Fatal(err)
		}
		arg := fmt.Sprintf("%s:%s:%s", kinds[o.kind], path, hex.EncodeToString([]byte(o.info)))
		for i, size := range o.sizes {
			arg += fmt.Sprintf("%c%d", ":,"[min(i, 1)], size)
		}
		args = append(args, arg)
	}
	return nrlProgram.start(t, n.host, fmt.Sprintf("NRL sender %d", n.id), args...)
}

func nrlReceive(t *testing.T, n node) *peer {
	t.Helper()
	args := append(n.nrlArgs("recv"), "dir="+t.TempDir()+"/")
	if n.silent {
		args = append(args, "silent=")
	}
	if n.unicastFeedback {
		args = append(args, "unicastnack=")
	}
	switch n.join {
	case norm.JoinCurrent:
		args = append(args, "sync=current")
	case norm.JoinAll:
		args = append(args, "sync=all")
	default:
		t.Fatalf("libnorm has no policy like %d", n.join)
	}
	return nrlProgram.start(t, n.host, fmt.Sprintf("NRL receiver %d", n.id), args...)
}

// nrlArgs are the arguments common to both roles.
func (n node) nrlArgs(role string) []string {
	iface := "lo"
	if n.host != nil {
		iface = netns.Interface
	}
	return append([]string{role, n.at.Addr().String(), fmt.Sprint(n.at.Port()), fmt.Sprintf("id=%d", n.id), "iface=" + iface}, n.extra...)
}
