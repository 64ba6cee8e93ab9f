package merkle

// Pieces says how a list of leaf hashes is cut so that each piece can be
// checked against one node of the tree: every piece has 2^Height leaves, the
// last one perhaps fewer, and its Root is the node above it.
//
// As every split of the tree falls on a multiple of 2^Height, the nodes are
// themselves a list whose Root is that of the tree.
type Pieces struct {
	Leaves int // in the whole list
	Height int // level of the nodes, counted from the leaves
}

// PiecesFor cuts a list of n leaf hashes in as many pieces as maxNodes allows (at least 1).
func PiecesFor(n, maxNodes int) Pieces {
	p := Pieces{Leaves: n}
	for p.Len() > max(maxNodes, 1) {
		p.Height++
	}
	return p
}

// Len returns the number of pieces, which is the number of nodes on the level.
func (p Pieces) Len() int {
	n := p.Leaves >> p.Height
	if n<<p.Height < p.Leaves {
		n++
	}
	return n
}

// Range returns which leaves piece i holds: first <= leaf < end.
func (p Pieces) Range(i int) (first, end int) {
	first = i << p.Height
	return first, min(first+1<<p.Height, p.Leaves)
}

// Of returns the piece that holds a leaf.
func (p Pieces) Of(leaf int) int { return leaf >> p.Height }

// Nodes returns the nodes of the level, one for each piece. There must be p.Leaves leaves.
func (p Pieces) Nodes(leaves []Hash) []Hash {
	nodes := make([]Hash, p.Len())
	for i := range nodes {
		first, end := p.Range(i)
		nodes[i] = Root(leaves[first:end])
	}
	return nodes
}

// Verify reports whether piece is exactly the leaf hashes of piece i, whose
// node must come from a trusted place. It does not allocate.
func (p Pieces) Verify(i int, node Hash, piece []Hash) bool {
	if i < 0 || i >= p.Len() {
		return false
	}
	first, end := p.Range(i)
	return len(piece) == end-first && Root(piece) == node
}
