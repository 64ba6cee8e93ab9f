package main

import (
	"testing"

	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/internal/cli/clitest"
)

// Each command line in README.md and docs is one that there is.
func TestDocumentedCommandLines(t *testing.T) {
	if n := clitest.CheckDocuments(t, root(cli.World{})); n < 20 {
		t.Errorf("%d command lines were found", n)
	}
}
