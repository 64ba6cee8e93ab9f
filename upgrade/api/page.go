package api

import (
	"bytes"
	"cmp"
	"html/template"
	"net/http"
	"strings"
)

var pageTemplate = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>REST API</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100% } td, th { border-bottom: 1px solid #ccc; padding: .3rem .6rem; text-align: left; vertical-align: top }
code { font-size: 90% }
</style>
<h1>REST API</h1>
<p>The contract is <a href="openapi.yaml">openapi.yaml</a> (OpenAPI 3.0). All paths are below <code>/api/v1</code>, and each request carries
<code>Authorization: Bearer SECRET</code>; <code>normsend token create</code> makes the first token.</p>
<table>
<thead><tr><th>Operation<th>What it does<th>For</thead>
{{range .}}<tr><td><code>{{.Method}} {{.Path}}</code><td>{{.Summary}}<td>{{.For}}
{{end}}</table>
</html>
`))

// A pageLine is an operation on the page.
type pageLine struct {
	Operation
	Summary, For string
}

// page says to people what there is.
func page(w http.ResponseWriter, r *http.Request) {
	summaries := summariesOf(string(contract))
	var lines []pageLine
	for _, op := range Operations() {
		whom := cmp.Or(string(op.Role), "everybody")
		if op.Device {
			whom += ", device"
		}
		lines = append(lines, pageLine{op, summaries[op.Method+" "+op.Path], whom})
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, lines); err != nil {
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(b.Bytes())
}

// summariesOf returns the summary of each operation. It is no reader of YAML: it knows how our file is laid out.
func summariesOf(yaml string) map[string]string {
	summaries := map[string]string{}
	var path, method string
	for line := range strings.Lines(yaml) {
		text := strings.TrimSpace(line)
		switch indent := len(line) - len(strings.TrimLeft(line, " ")); {
		case indent == 2 && strings.HasPrefix(text, "/"):
			path = strings.TrimSuffix(text, ":")
		case indent == 4 && strings.HasSuffix(text, ":"):
			method = strings.ToUpper(strings.TrimSuffix(text, ":"))
		case indent == 6 && strings.HasPrefix(text, "summary: '"):
			summaries[method+" "+path] = strings.TrimSuffix(strings.TrimPrefix(text, "summary: '"), "'")
		}
	}
	return summaries
}
