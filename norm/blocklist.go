package norm

// A blockList is a list of blocks in the order they were added.
type blockList struct{ oldest, newest *block }

// add puts b behind all others.
func (l *blockList) add(b *block) {
	b.older, b.newer = l.newest, nil
	if l.newest != nil {
		l.newest.newer = b
	} else {
		l.oldest = b
	}
	l.newest = b
}

// remove takes b off the list, which it must be on.
func (l *blockList) remove(b *block) {
	if b.older != nil {
		b.older.newer = b.newer
	} else {
		l.oldest = b.newer
	}
	if b.newer != nil {
		b.newer.older = b.older
	} else {
		l.newest = b.older
	}
	b.older, b.newer = nil, nil
}
