package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/multicast-upgrade/tool/internal/cli/clitest"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs both commands on this host, over loopback multicast.
func TestScripts(t *testing.T) {
	p := clitest.Params("testdata")
	p.Setup = func(env *testscript.Env) error {
		env.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
		return nil
	}
	testscript.Run(t, p)
}
