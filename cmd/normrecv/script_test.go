package main

import (
	"path/filepath"
	"testing"

	"github.com/multicast-upgrade/tool/internal/cli/clitest"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"normrecv": main}) }

func TestScripts(t *testing.T) {
	capture, err := filepath.Abs(filepath.FromSlash("../../norm/trace/testdata/session.pcapng"))
	if err != nil {
		t.Fatal(err)
	}
	units, err := filepath.Abs(filepath.FromSlash("../../examples/systemd"))
	if err != nil {
		t.Fatal(err)
	}
	p := clitest.Params("testdata")
	p.Setup = func(e *testscript.Env) error {
		e.Setenv("CAPTURE", capture) // of a whole session
		e.Setenv("UNITS", units)
		return nil
	}
	testscript.Run(t, p)
}
