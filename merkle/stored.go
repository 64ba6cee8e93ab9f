package merkle

// Stored takes bytes that are on the store already, having come there on another way than WriteAt: those of the range of
// length bytes from off. Leaves that become complete are read back and hashed. An error is the store's own, or ErrBounds.
func (v *Verifier) Stored(off, length int64) error {
	if off < 0 || length < 0 || off > v.size-length {
		return ErrBounds
	}
	for end := off + length; off < end; {
		leaf := int(off / v.leafSize)
		from, to := v.span(leaf)
		if v.state[leaf] < hashed {
			if r := v.findRun(leaf); r != nil {
				r.used = 0 // bytes already hashed may have changed on the store
			}
			v.have = v.have.add(off, min(to, end))
			switch {
			case v.have.contains(from, to):
				if err := v.complete(leaf); err != nil {
					return err
				}
			case len(v.have) > maxSpans:
				v.stats.Forgotten++
				v.reject(leaf)
			}
		}
		off = to
	}
	return nil
}

// Complete reports whether all bytes of a leaf are on the store and hashed, perhaps with its expected hash not known yet.
// They must not be written to any more.
func (v *Verifier) Complete(leaf int) bool { return v.state[leaf] >= hashed }
