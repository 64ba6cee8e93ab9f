package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/upgrade/store"
)

//go:embed templates static
var files embed.FS

// pages are the templates by the name of their file; each has the layout around it.
var pages = func() map[string]*template.Template {
	base := template.Must(template.New("").Funcs(words).ParseFS(files, "templates/layout.html", "templates/part-*.html"))
	all, err := fs.Glob(files, "templates/*.html")
	if err != nil {
		panic(err)
	}
	pages := map[string]*template.Template{}
	for _, file := range all {
		name := path.Base(file)
		if name == "layout.html" || strings.HasPrefix(name, "part-") {
			continue
		}
		pages[name] = template.Must(template.Must(base.Clone()).ParseFS(files, file))
	}
	return pages
}()

// staticFiles serves what is in static. Browsers keep it and ask whether it is still the same.
func (s *Site) staticFiles() http.Handler {
	tags := map[string]string{}
	contents := map[string][]byte{}
	err := fs.WalkDir(files, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := files.ReadFile(name)
		sum := sha256.Sum256(b)
		contents["/"+name], tags["/"+name] = b, `"`+hex.EncodeToString(sum[:8])+`"`
		return err
	})
	if err != nil {
		panic(err) // they are in the binary
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, ok := contents[r.URL.Path]
		if !ok {
			s.refuse(w, r, store.ErrNotFound)
			return
		}
		w.Header().Set("ETag", tags[r.URL.Path])
		w.Header().Set("Cache-Control", "no-cache")
		http.ServeContent(w, r, r.URL.Path, time.Time{}, bytes.NewReader(b))
	})
}

// area returns the entry of the menu that a path belongs to.
func area(path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if first == "enrolments" || first == "network" {
		return "devices"
	}
	return first
}

// words are how templates say values.
var words = template.FuncMap{
	"moment":   sayMoment,
	"iso":      func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"bytes":    sayBytes,
	"rate":     sayRate,
	"span":     saySpan,
	"percent":  func(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) },
	"share":    share,
	"count":    count,
	"number":   func(n any) string { return group(int(number(n))) },
	"short":    func(s fmt.Stringer) string { return s.String()[:12] },
	"cause":    func(c any) string { return sayCause(fmt.Sprint(c)) },
	"campaign": sayPhase,
	"action":   sayAction,
	"about":    sayAbout,
	"detail":   sayDetail,
	"join":     func(list []string) string { return strings.Join(list, ", ") },
	"policy":   sayPolicy,
	"waves":    sayWaves,
	"inc":      func(n int) int { return n + 1 },
	"schedule": saySchedule,
	"targets":  sayTargets,
	"look":     func(v store.Verdict) string { return verdictLooks[v] },
	"str":      func(v any) string { return fmt.Sprint(v) },
}

// share returns a part of a whole as a number from 0 to 100.
func share(part, whole any) int {
	p, w := number(part), number(whole)
	if w <= 0 {
		return 0
	}
	return int(100 * min(max(p/w, 0), 1))
}

func number(v any) float64 {
	switch n := v.(type) {
	case int:
		return float64(n)
	case int64:
		return float64(n)
	case uint64:
		return float64(n)
	}
	return 0
}

// count returns a number with its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return group(n) + " " + many
}

// group returns a number in groups of three digits: 100,000.
func group(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
