package web

import (
	"net/url"
	"strings"

	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A sorting is what a list is sorted by, and how it may be sorted otherwise: by links in the heads of its columns. The
// server sorts, whatever the length of the list.
type sorting struct {
	path  string
	query url.Values
	order string // as in store.Page
}

// sorting returns what the request asks for, or what is usual.
func (v *visit) sorting(usual string) sorting {
	s := sorting{v.r.URL.Path, v.r.URL.Query(), v.r.URL.Query().Get("order")}
	if s.order == "" {
		s.order = usual
	}
	s.query.Del("after")
	s.query.Del("order")
	return s
}

// Order returns the order, for forms that keep it.
func (s sorting) Order() string { return s.order }

// A head is that of a column that a list can be sorted by.
type head struct {
	Text, Class string
	Link        string
	Sorted      string // for aria-sort; empty: by something else
}

// Head returns the head of a column that is sorted by key at first, and the other way round when it is already.
func (s sorting) Head(text, key, class string) head {
	h := head{Text: text, Class: class}
	column, isDown := strings.CutPrefix(s.order, "-")
	if column == strings.TrimPrefix(key, "-") {
		h.Sorted, key = "ascending", "-"+column
		if isDown {
			h.Sorted, key = "descending", column
		}
	}
	q := url.Values{"order": {key}}
	for name, values := range s.query {
		q[name] = values
	}
	h.Link = s.path + "?" + q.Encode()
	return h
}

func (s sorting) page(v *visit, limit int) store.Page {
	return store.Page{After: v.r.URL.Query().Get("after"), Limit: limit, Order: s.order}
}

// A pager is the links from one page of a list to others.
type pager struct {
	First string // empty: this is it
	Next  string // empty: there is none
}

// pager returns the links of a list whose next page is after next.
func (v *visit) pager(next string) (p pager) {
	link := func(after string) string {
		q := v.r.URL.Query()
		if q.Del("after"); after != "" {
			q.Set("after", after)
		}
		if len(q) == 0 {
			return v.r.URL.Path
		}
		return v.r.URL.Path + "?" + q.Encode()
	}
	if v.r.URL.Query().Get("after") != "" {
		p.First = link("")
	}
	if next != "" {
		p.Next = link(next)
	}
	return p
}
