package fleet

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A rank is what an item of a list in memory is sorted by, before its name.
type rank struct {
	text   string
	number float64
}

// part returns a page of a list in memory, sorted as p.Order says: by name, or by what one of orders returns. Page.After is
// what the last item had, so that who pages through values that change meanwhile goes on behind where it was.
func part[T any](items []T, p store.Page, name func(T) string, orders map[string]func(T) rank) (l store.List[T], err error) {
	order, isDown := strings.CutPrefix(p.Order, "-")
	by, ok := orders[order]
	if p.Order == "" || order == "id" {
		by, ok = func(T) rank { return rank{} }, true
	}
	if !ok {
		return l, fmt.Errorf("%w: order %.70q: want one of %q", store.ErrInvalid, p.Order, append(slices.Sorted(maps.Keys(orders)), "id"))
	}
	type entry struct {
		rank
		name string
		item *T
	}
	compare := func(a, b entry) int {
		c := cmp.Or(strings.Compare(a.text, b.text), cmp.Compare(a.number, b.number), strings.Compare(a.name, b.name))
		if isDown {
			return -c
		}
		return c
	}
	var last entry
	if p.After != "" {
		words := append(strings.SplitN(p.After, " ", 3), "", "")
		last.name, last.text = words[0], words[2]
		if words[1] != "" {
			if last.number, err = strconv.ParseFloat(words[1], 64); err != nil {
				return l, fmt.Errorf("%w: page after %.70q: want what next of the page before says", store.ErrInvalid, p.After)
			}
		}
	}
	limit := min(max(p.Limit, 0), 1000)
	if limit == 0 {
		limit = 100
	}
	var first []entry // behind last, and one more than fit
	for i := range items {
		e := entry{by(items[i]), name(items[i]), &items[i]}
		if p.After != "" && compare(e, last) <= 0 || len(first) > limit && compare(e, first[limit]) > 0 {
			continue
		}
		at, _ := slices.BinarySearchFunc(first, e, compare)
		first = slices.Insert(first, at, e)
		first = first[:min(len(first), limit+1)]
	}
	if len(first) > limit {
		first = first[:limit]
		e := first[limit-1]
		if l.Next = e.name; e.rank != (rank{}) || e.name == "" {
			l.Next += " " + strconv.FormatFloat(e.number, 'g', -1, 64) + " " + e.text
		}
	}
	for _, e := range first {
		l.Items = append(l.Items, *e.item)
	}
	return l, nil
}
