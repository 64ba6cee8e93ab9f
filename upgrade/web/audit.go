package web

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/upgrade/store"
)

// newest returns the last events of the audit trail that a filter selects, the newest first.
func (s *Site) newest(ctx context.Context, f store.EventFilter, n int) ([]store.Event, error) {
	l, err := s.store.Events(ctx, f, store.Page{Limit: n, Order: "-id"})
	return l.Items, err
}

// An auditPage is what audit.html shows.
type auditPage struct {
	Events  []store.Event
	Filter  store.EventFilter
	Since   string // as the form has it
	Actions []actionWord
	Sort    sorting
	Pages   pager
}

// An actionWord is an action of the audit trail, and how people say it.
type actionWord struct{ Action, Text string }

// actionWords are those that can be asked for.
var actionWords = func() []actionWord {
	var all []actionWord
	for _, action := range slices.Sorted(maps.Keys(actions)) {
		kind, _, _ := strings.Cut(action, ".")
		all = append(all, actionWord{action, kind + ": " + strings.TrimSuffix(actions[action], ":")})
	}
	return all
}()

// IsFiltered reports whether something may be left out.
func (p auditPage) IsFiltered() bool { return p.Filter != store.EventFilter{} }

func (s *Site) audit(v *visit) error {
	q := v.r.URL.Query()
	get := func(name string) string { return strings.TrimSpace(q.Get(name)) }
	p := auditPage{Since: get("since"), Actions: actionWords, Sort: v.sorting("-id"),
		Filter: store.EventFilter{Actor: get("actor"), Action: get("action"), Subject: get("subject"), Campaign: get("campaign")}}
	if p.Since != "" {
		since, err := time.Parse(formTime, p.Since)
		if err != nil {
			return &refusal{http.StatusUnprocessableEntity, "Since: write a time in UTC such as 2026-03-01T22:00."}
		}
		p.Filter.Since = since
	}
	l, err := s.store.Events(v.r.Context(), p.Filter, p.Sort.page(v, 100))
	if err != nil {
		return err
	}
	p.Events, p.Pages = l.Items, v.pager(l.Next)
	v.show(http.StatusOK, "audit.html", "Audit trail", p)
	return nil
}

// sayDetail returns what else is known of an event: "role viewer, name vera".
func sayDetail(e store.Event) string {
	var detail map[string]any
	if json.Unmarshal(e.Detail, &detail) != nil {
		return ""
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(detail)) {
		text := fmt.Sprintf("%.100s", fmt.Sprint(detail[name]))
		if list, ok := detail[name].([]any); ok {
			text = fmt.Sprintf("%.100s", strings.Trim(fmt.Sprint(list), "[]"))
		}
		if text = cmp.Or(text, "none"); detail[name] != nil {
			parts = append(parts, name+" "+text)
		}
	}
	return strings.Join(parts, ", ")
}
