package commit

// A tally counts a wave or a site of it.
type tally struct {
	targets, ready, refused int
	committed, failed       int // outcomes COMMITTED, and FAILED or ROLLED_BACK
	lost                    int // can be neither READY nor COMMITTED any more
}

// quorum compares the share that is READY with what is asked: Commit if it is reached, Abort if it cannot be any more.
func (t tally) quorum(percent int) Verdict {
	switch need := quorum(percent, t.targets); {
	case t.ready >= need:
		return Commit
	case t.targets-t.refused < need:
		return Abort
	}
	return Undecided
}

// change applies f to a device and keeps the counts of its wave and site right.
func (c *Coordinator) change(d *device, f func()) {
	c.count(d, -1)
	f()
	c.count(d, +1)
}

func (c *Coordinator) count(d *device, sign int) {
	w := &c.waves[d.Wave]
	site := w.sites[d.Site]
	if site == nil {
		site = &tally{}
		w.sites[d.Site] = site
	}
	for _, t := range []*tally{&w.all, site} {
		t.targets += sign
		if d.isReady() {
			t.ready += sign
		}
		if d.cannotBeReady() {
			t.refused += sign
		}
		switch {
		case d.state == StateCommitted:
			t.committed += sign
		case d.state == StateFailed || d.state == StateRolledBack:
			t.failed += sign
			fallthrough
		case d.cannotBeReady():
			t.lost += sign
		}
	}
}
