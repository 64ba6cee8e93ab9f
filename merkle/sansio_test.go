package merkle

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestPackageIsSansIO keeps files, sockets, clocks, locks and goroutines out of the package, and other modules too.
func TestPackageIsSansIO(t *testing.T) {
	allowed := strings.Fields("crypto/sha256 encoding/binary encoding/hex errors fmt hash hash/crc32 io iter math math/bits slices sort")
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		files++
		file, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, imp := range file.Imports {
			if path, _ := strconv.Unquote(imp.Path.Value); !slices.Contains(allowed, path) {
				t.Errorf("%s imports %q", e.Name(), path)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if _, ok := n.(*ast.GoStmt); ok {
				t.Errorf("%s starts a goroutine", e.Name())
			}
			return true
		})
	}
	if files == 0 {
		t.Error("no files looked at")
	}
}
