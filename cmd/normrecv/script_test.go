package main

import (
	"testing"

	"github.com/multicast-upgrade/tool/internal/cli/clitest"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"normrecv": main}) }

func TestScripts(t *testing.T) { testscript.Run(t, clitest.Params("testdata")) }
