//go:build linux

package interop

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the table of docs/interop.md")

const (
	document = "../docs/interop.md"
	begins   = "<!-- exchanges: written by go test ./interop -run TestDocument -update -->\n"
	ends     = "<!-- end of exchanges -->\n"
)

// TestDocument holds docs/interop.md to the exchanges that TestExchanges runs.
func TestDocument(t *testing.T) {
	b, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(b), begins)
	was, tail, ok2 := strings.Cut(rest, ends)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the lines that enclose the table", document)
	}
	is := table(exchanges())
	if is == was {
		return
	}
	if !*update {
		t.Fatalf("%s does not list what is exchanged; go test ./interop -run TestDocument -update rewrites it", document)
	}
	if err := os.WriteFile(document, []byte(head+begins+is+ends+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

// table is what the document says of the exchanges.
func table(all []exchange) string {
	var b strings.Builder
	section := ""
	for _, x := range all {
		if x.section != section {
			section = x.section
			fmt.Fprintf(&b, "\n| %s | |\n| --- | --- |\n", section)
		}
		var ways []string
		for _, w := range x.ways {
			ways = append(ways, w.name)
		}
		fmt.Fprintf(&b, "| %s | %s |\n", x.what, strings.Join(ways, ", "))
	}
	b.WriteString("\n")
	return b.String()
}
