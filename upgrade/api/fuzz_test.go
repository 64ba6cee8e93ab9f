package api_test

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/multicast-upgrade/tool/upgrade/api"
	"github.com/multicast-upgrade/tool/upgrade/api/rest"
)

var pathVariable = regexp.MustCompile(`\{[^}]*\}`)

// plainDatabase is one in a directory without the # of a seed's name, which a database's address cannot hold.
func plainDatabase(t testing.TB) string {
	dir, err := os.MkdirTemp("", "fuzz")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return "sqlite:" + filepath.Join(dir, "fleet.db")
}

// FuzzRequest asks any operation about anything, as somebody who may do all. What is nonsense is answered with a problem that
// is the asker's.
func FuzzRequest(f *testing.F) {
	operations := api.Operations()
	for i := range operations {
		f.Add(byte(i), "phone-00", "limit=3", []byte(`{"name":"x"}`))
	}
	f.Add(byte(0), "%00", "cursor=%ff", []byte("\xff"))
	f.Fuzz(func(t *testing.T, n byte, id, query string, body []byte) {
		r := newRigOn(t, plainDatabase, plenty)
		op := operations[int(n)%len(operations)]
		path := pathVariable.ReplaceAllLiteralString(op.Path, url.PathEscape(id))
		if _, err := url.Parse(path + "?" + query); err != nil || id == "" || id == "." || id == ".." {
			return
		}
		a := r.ask("alma", op.Method+" "+path+"?"+url.PathEscape(query), body, "Content-Type", "application/json")
		if a.status < 500 {
			return
		}
		if p := a.problem(t); p.Reason == rest.ReasonInternal {
			t.Errorf("%s %s?%s: %d %s", op.Method, path, query, a.status, a.body)
		}
	})
}
