package merkle

import (
	"slices"
	"sort"
)

// spans is a set of bytes, as sorted ranges that do not touch each other.
type spans []span

type span struct{ from, to int64 } // from <= byte < to

// find returns the index of the first range that ends at off or later.
func (s spans) find(off int64) int {
	return sort.Search(len(s), func(i int) bool { return s[i].to >= off })
}

// add puts in from <= byte < to, joining ranges that meet.
func (s spans) add(from, to int64) spans {
	i := s.find(from)
	j := i
	for j < len(s) && s[j].from <= to {
		from, to = min(from, s[j].from), max(to, s[j].to)
		j++
	}
	if j == i {
		return slices.Insert(s, i, span{from, to})
	}
	s[i] = span{from, to}
	return slices.Delete(s, i+1, j)
}

// remove takes out from <= byte < to.
func (s spans) remove(from, to int64) spans {
	i := s.find(from + 1) // the first that ends beyond from
	j := i
	for j < len(s) && s[j].from < to {
		j++
	}
	if i == j {
		return s
	}
	before, after := span{s[i].from, from}, span{to, s[j-1].to}
	switch {
	case before.from < before.to && after.from < after.to:
		if i+1 == j { // one range becomes two
			s = slices.Insert(s, i, span{})
			j++
		}
		s[i], s[j-1] = before, after
		return slices.Delete(s, i+1, j-1)
	case before.from < before.to:
		s[i] = before
		return slices.Delete(s, i+1, j)
	case after.from < after.to:
		s[j-1] = after
		return slices.Delete(s, i, j-1)
	}
	return slices.Delete(s, i, j)
}

// contains reports whether all of from <= byte < to is in the set.
func (s spans) contains(from, to int64) bool {
	i := s.find(to)
	return i < len(s) && s[i].from <= from
}
