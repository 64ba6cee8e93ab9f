// Package tool_test holds the rules that keep the rooms of ARCHITECTURE.md apart.
package tool_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/multicast-upgrade/tool/"

// A room is one package: what of this module and of others it may import beside the standard library, and whether it
// must be sans-IO.
type room struct {
	may    []string
	sansIO bool
}

var rooms = map[string]room{
	"norm/wire":              {sansIO: true},
	"norm/fec":               {may: []string{"github.com/klauspost/reedsolomon"}, sansIO: true},
	"norm/auth":              {may: []string{module + "norm/wire"}, sansIO: true},
	"norm":                   {may: []string{module + "norm/wire", module + "norm/fec", module + "norm/cc", module + "norm/auth"}, sansIO: true},
	"norm/cc":                {sansIO: true},
	"norm/udp":               {may: []string{"golang.org/x/net", "golang.org/x/sys"}},
	"norm/session":           {may: []string{module + "norm", module + "norm/udp"}},
	"norm/trace":             {may: []string{module + "norm/udp", module + "norm/wire"}},
	"norm/doctor":            {may: []string{module + "norm/udp", module + "norm/wire", "golang.org/x/net", "golang.org/x/sys"}},
	"norm/normtest":          {may: []string{module + "norm", module + "norm/auth", module + "norm/wire", module + "norm/fec"}},
	"norm/normtest/hub":      {may: []string{module + "norm/udp"}},
	"norm/normtest/overhead": {may: []string{module + "norm", module + "norm/fec", module + "norm/normtest"}},
	"norm/normtest/scale":    {may: []string{module + "norm", module + "norm/normtest", module + "norm/wire", module + "norm/fec"}},
	"merkle":                 {sansIO: true},
	"manifest":               {may: []string{module + "merkle", "github.com/fxamacker/cbor/v2", "github.com/veraison/go-cose"}},
	"seal":                   {may: []string{module + "manifest", "filippo.io/age"}},
	"commit":                 {may: []string{module + "manifest", "github.com/fxamacker/cbor/v2"}, sansIO: true},
	"commit/disk":            {may: []string{"golang.org/x/sys", "github.com/gofrs/flock"}},
	"commit/disk/diskfault":  {may: []string{module + "commit/disk"}},
	"commit/filestore":       {may: []string{module + "commit", module + "commit/disk"}},
	"discovery/sdp":          {sansIO: true},
	"discovery/sap":          {may: []string{module + "discovery/sdp"}, sansIO: true},
	"discovery":              {may: []string{module + "manifest", module + "discovery/sap", module + "discovery/sdp", module + "norm/udp", "github.com/fxamacker/cbor/v2"}},
	"interop":                {},
	"upgrade": {may: []string{
		module + "norm", module + "norm/auth", module + "norm/doctor", module + "norm/fec", module + "norm/session", module + "norm/udp", module + "merkle",
		module + "manifest", module + "commit", module + "commit/disk", module + "commit/filestore", module + "discovery",
		"golang.org/x/net/netutil", "golang.org/x/sys",
	}},
	"upgrade/tftp":  {},
	"upgrade/store": {may: []string{module + "manifest", module + "commit", module + "commit/disk", "github.com/jackc/pgx/v5", "modernc.org/sqlite"}},
	"upgrade/fleet": {may: []string{
		module + "norm", module + "norm/doctor", module + "norm/fec", module + "norm/session", module + "norm/udp", module + "manifest", module + "commit", module + "discovery",
		module + "seal", module + "upgrade", module + "upgrade/store",
	}},
	"upgrade/api/rest": {may: []string{"github.com/oapi-codegen/runtime"}},
	"upgrade/api": {may: []string{
		module + "norm", module + "manifest", module + "commit", module + "upgrade", module + "upgrade/api/rest", module + "upgrade/fleet", module + "upgrade/store",
		"golang.org/x/time/rate",
	}},
	"upgrade/web": {may: []string{module + "manifest", module + "commit", module + "upgrade/api", module + "upgrade/fleet", module + "upgrade/store"}},
}

// TestAgentLinksNoSQL holds that the database of the server stays out of the program on the devices.
func TestAgentLinksNoSQL(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "./cmd/normrecv").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if pkg := strings.TrimSpace(line); pkg == "database/sql" || pkg == module+"upgrade/store" {
			t.Errorf("normrecv links %s", pkg)
		}
	}
}

// TestOnlyCommandsLinkAge holds that what opens sealed images is linked by commands, and by the server of a fleet, and that agents
// of others which are built on these packages need not.
func TestOnlyCommandsLinkAge(t *testing.T) {
	for _, pkg := range []string{"./upgrade", "./examples/embedded", "./examples/quickstart"} {
		out, err := exec.Command("go", "list", "-deps", pkg).Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			if dep := strings.TrimSpace(line); dep == module+"seal" || strings.HasPrefix(dep, "filippo.io/") {
				t.Errorf("%s links %s", pkg, dep)
			}
		}
	}
}

// outside is what a sans-IO package has no use for: time and randomness are its inputs, and one goroutine owns it.
var outside = []string{"net", "net/http", "os", "os/exec", "sync", "sync/atomic", "context", "crypto/rand", "syscall"}

// TestRooms walks the non-test files of every room and holds them to their rules.
func TestRooms(t *testing.T) {
	for dir, room := range rooms {
		files, err := filepath.Glob(filepath.Join(filepath.FromSlash(dir), "*.go"))
		if err != nil || len(files) == 0 {
			t.Errorf("%s: no such room", dir)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, imp := range file.Imports {
				path, _ := strconv.Unquote(imp.Path.Value)
				switch {
				case room.sansIO && slices.Contains(outside, path):
					t.Errorf("%s imports %q; that belongs outside the core", name, path)
				case strings.Contains(path, ".") && !allowed(path, room.may):
					t.Errorf("%s imports %q, which is not in the list of its room", name, path)
				}
			}
			if room.sansIO {
				ast.Inspect(file, func(n ast.Node) bool { return checkSansIO(t, fset, n) })
			}
		}
	}
}

func allowed(path string, may []string) bool {
	return slices.ContainsFunc(may, func(m string) bool {
		return path == m || !strings.HasPrefix(m, module) && strings.HasPrefix(path, m+"/")
	})
}

// checkSansIO rejects go statements and the clock.
func checkSansIO(t *testing.T, fset *token.FileSet, n ast.Node) bool {
	switch n := n.(type) {
	case *ast.GoStmt:
		t.Errorf("%v: a go statement in the core", fset.Position(n.Pos()))
	case *ast.SelectorExpr:
		if pkg, ok := n.X.(*ast.Ident); ok && pkg.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}, n.Sel.Name) {
			t.Errorf("%v: time.%s in the core; time is an input", fset.Position(n.Pos()), n.Sel.Name)
		}
	}
	return true
}

// TestEveryRoomHasRules fails when a package of the library is added without a line in rooms.
func TestEveryRoomHasRules(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		top, _, _ := strings.Cut(filepath.ToSlash(path), "/")
		if d.IsDir() && (slices.Contains([]string{"cmd", "examples", "internal", "testdata", "docs", "tools"}, top) || d.Name() != "." && strings.HasPrefix(d.Name(), ".")) {
			return filepath.SkipDir
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			if _, ok := rooms[dir]; !ok {
				t.Errorf("%s: add %q to rooms, with what it may import", path, dir)
				return filepath.SkipDir
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
