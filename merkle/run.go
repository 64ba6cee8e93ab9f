package merkle

import "io"

const (
	maxRuns  = 8        // leaves that are hashed while they arrive
	readSize = 64 << 10 // buffer for bytes hashed later, made when first needed
)

// A run hashes the beginning of a leaf while it arrives: the bytes from the
// leaf's first up to next, which are on the store as they were hashed.
type run struct {
	leaf int
	next int64
	used uint64 // tick of the last use; 0: free
	hash *leafHasher
}

// hashOnTheWay continues the leaf's run if p follows it, and begins one if p is the leaf's beginning.
func (v *Verifier) hashOnTheWay(leaf int, p []byte, off int64) {
	start, _ := v.span(leaf)
	r := v.findRun(leaf)
	switch {
	case r == nil && off != start, r != nil && off > r.next:
		return // read back when the leaf is complete
	case r != nil && off < r.next:
		r.used = 0 // bytes already hashed may have changed on the store
		return
	case r == nil:
		r = v.beginRun(leaf)
	}
	v.extendRun(r, p)
}

func (v *Verifier) findRun(leaf int) *run {
	for i := range v.runs {
		if r := &v.runs[i]; r.used != 0 && r.leaf == leaf {
			return r
		}
	}
	return nil
}

// beginRun takes a free run, or the one that was not used for longest: its leaf is read back later.
func (v *Verifier) beginRun(leaf int) *run {
	r := &v.runs[0]
	for i := range v.runs {
		if v.runs[i].used < r.used {
			r = &v.runs[i]
		}
	}
	if r.hash == nil {
		r.hash = newLeaf()
	}
	r.hash.reset()
	r.leaf = leaf
	r.next, _ = v.span(leaf)
	v.extendRun(r, nil)
	return r
}

func (v *Verifier) extendRun(r *run, p []byte) {
	r.hash.write(p)
	r.next += int64(len(p))
	v.tick++
	r.used = v.tick
}

// finishRun hashes the rest of the run's leaf from the store and frees the run.
func (v *Verifier) finishRun(r *run) (Hash, error) {
	_, end := v.span(r.leaf)
	defer func() { r.used = 0 }()
	if r.next < end && v.buf == nil {
		v.buf = make([]byte, readSize)
	}
	for r.next < end {
		p := v.buf[:min(int64(len(v.buf)), end-r.next)]
		n, err := v.store.ReadAt(p, r.next)
		if n < len(p) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return Hash{}, err
		}
		v.stats.ReadBack += int64(n)
		v.extendRun(r, p)
	}
	return r.hash.sum(), nil
}
