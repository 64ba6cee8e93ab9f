package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/multicast-upgrade/tool/internal/cli/clitest"
	"github.com/rogpeppe/go-internal/testscript"
)

// bin is where the commands are.
var bin string

// atOnce is how many parallel tests run beside each other, unless -parallel says otherwise: most of the time they wait.
const atOnce = "6"

func TestMain(m *testing.M) {
	flag.Set("test.parallel", atOnce)
	os.Exit(buildAndRun(m))
}

// buildAndRun builds the commands once for all tests.
func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "e2e-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-o", dir, "./cmd/normsend", "./cmd/normrecv")
	build.Dir = filepath.Join("..", "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	bin = dir
	return m.Run()
}

// TestScripts runs both commands on this host, over loopback multicast.
func TestScripts(t *testing.T) {
	p := clitest.Params("testdata")
	p.Setup = func(env *testscript.Env) error {
		env.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
		return nil
	}
	testscript.Run(t, p)
}
