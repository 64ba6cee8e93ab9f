package norm_test

import (
	"testing"

	"github.com/multicast-upgrade/tool/norm/normtest"
)

func TestScripts(t *testing.T) { normtest.RunScripts(t, "testdata/scripts") }
