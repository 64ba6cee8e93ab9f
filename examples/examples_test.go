// Package examples holds the examples to what is said of them: short, working, leaving nothing behind.
package examples

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// examples is what each prints, line by line or in part.
var examples = map[string][]string{
	"quickstart": {
		`phone-1   runs the signed image: true$`, `phone-2   runs the signed image: true$`, `phone-3   runs the signed image: true$`,
		`COMMIT on 3 of 3 devices$`,
	},
	"embedded": {
		`^opened    router 2\.1\.0: fw\.bin, 2250000 bytes$`, `^received  all 35 leaves, each verified$`,
		`^job       verify$`, `^job       check-stage$`, `^job       activate$`, `^outcome   committed$`,
	},
	"eventloop": {
		`^ +0s  object-offered$`, `^ *[0-9.]+m?s  object-complete$`,
		`^643 segments sent, [1-9][0-9]* datagrams lost, [1-9][0-9]* NACKs, [1-9][0-9]* repairs; content equal: true$`,
	},
	"overhead": {`^\| adaptive \| 4 \| 5 % \| 1\.07[0-9]+ \| `, `^\| on demand \| 4 \| 5 % \| 1\.07[0-9]+ \| .* \| 0\.00 \| `},
	"scale": {
		`^session   1000 receivers, 2 MB at 10 Mbit/s, GRTT 100ms, K 4, gsize 1000`, `^complete  1000 of 1000, each symbol verified$`,
		`^NACKs     [1-9][0-9]* in [1-9] repair events: `,
	},
	"signsend": {
		`^signed    fw\.bin, 2250000 bytes, with SHA256:`, `^sending   object 1, 2250000 bytes, to 239\.255\.`,
		`^verified  router 2\.1\.0, 2250000 bytes, SHA-256 [0-9a-f]{64}$`,
	},
}

// measures are examples that take minutes, and have tests of their own.
var measures = []string{"bench"}

const maxLines = 80

// patience bounds how long an example may run on a busy machine.
const patience = time.Minute

func goTool(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("examples are built with the go command: ", err)
	}
	return exec.CommandContext(t.Context(), tool, args...)
}

// TestEveryExampleIsTested fails when one is added that nothing is said of here.
func TestEveryExampleIsTested(t *testing.T) {
	mains, err := filepath.Glob("*/main.go")
	if err != nil || len(mains) < 3 {
		t.Fatalf("examples: %q, %v", mains, err)
	}
	for _, main := range mains {
		name := filepath.Dir(main)
		if examples[name] == nil && !slices.Contains(measures, name) {
			t.Errorf("example %s is not tested", name)
		}
		src, err := os.ReadFile(main)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(src, []byte("\n")); n >= maxLines {
			t.Errorf("%s has %d lines, want fewer than %d", main, n, maxLines)
		}
		if !bytes.Contains(src, []byte("go run ./examples/"+name)) {
			t.Errorf("%s does not say how it is run", main)
		}
	}
}

func TestExamples(t *testing.T) {
	for name, want := range examples {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat(filepath.Join(name, "main.go")); errors.Is(err, fs.ErrNotExist) {
				t.Skip("there is none")
			}
			program := filepath.Join(t.TempDir(), name+".exe")
			if out, err := goTool(t, "build", "-o", program, "./"+name).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			run := exec.CommandContext(ctx, program)
			run.Dir = t.TempDir()
			run.Env = append(os.Environ(), "TMPDIR="+run.Dir, "TMP="+run.Dir, "HOME="+run.Dir)
			out, err := run.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, line := range want {
				if !regexp.MustCompile("(?m)" + line).Match(out) {
					t.Errorf("no line %q in:\n%s", line, out)
				}
			}
			left, err := os.ReadDir(run.Dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, entry := range left {
				if !bytes.Contains(out, []byte(entry.Name())) {
					t.Errorf("it left %s behind without a word", entry.Name())
				}
			}
		})
	}
}

// TestEmbeddedIsSmall holds what an agent links that takes the libraries alone: no SQL, no HTTP, no command line
// framework, and of other people's modules those that NORM and the signed documents need.
func TestEmbeddedIsSmall(t *testing.T) {
	modules := []string{
		"github.com/multicast-upgrade/tool",
		"github.com/fxamacker/cbor/v2", "github.com/veraison/go-cose", "github.com/x448/float16",
		"github.com/klauspost/reedsolomon", "github.com/klauspost/cpuid/v2",
		"golang.org/x/net", "golang.org/x/sys",
	}
	for _, target := range []string{"linux/amd64", "linux/arm64", "linux/arm", "linux/mipsle", "darwin/arm64", "windows/amd64"} {
		t.Run(target, func(t *testing.T) {
			goos, goarch, _ := strings.Cut(target, "/")
			list := goTool(t, "list", "-deps", "-f", "{{.ImportPath}} {{with .Module}}{{.Path}}{{end}}", "./embedded")
			list.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0")
			out, err := list.Output()
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(out)) {
				pkg, module, _ := strings.Cut(strings.TrimSpace(line), " ")
				switch {
				case module != "" && !slices.Contains(modules, module):
					t.Errorf("%s of module %s is linked", pkg, module)
				case pkg == "net/http" || pkg == "database/sql" || pkg == "github.com/multicast-upgrade/tool/upgrade":
					t.Errorf("%s is linked", pkg)
				}
			}
		})
	}
}
