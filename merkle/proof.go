package merkle

import "fmt"

// ProveRange returns the proof that the leaves first <= i < end belong to the
// tree over leaves: the roots of the largest subtrees outside the range. It
// extends PATH of RFC 9162, Section 2.1.3.1 from one leaf to a range:
//
//	RANGE(a, b, D_n) = {}                                                  if the range is all of D_n
//	RANGE(a, b, D_n) = RANGE(a, b, D[0:k]) : MTH(D[k:n])                   for b <= k
//	RANGE(a, b, D_n) = RANGE(a - k, b - k, D[k:n]) : MTH(D[0:k])           for a >= k
//	RANGE(a, b, D_n) = RANGE(a, k, D[0:k]) : RANGE(0, b - k, D[k:n])       otherwise
//
// so that the proof for one leaf is its inclusion proof. It panics if the
// range is empty or not within leaves, as a slice expression would.
func ProveRange(leaves []Hash, first, end int) []Hash {
	if first < 0 || first >= end || end > len(leaves) {
		panic(fmt.Sprintf("merkle: range %d:%d of %d leaves", first, end, len(leaves)))
	}
	return appendRange(nil, leaves, first, end)
}

func appendRange(proof, leaves []Hash, first, end int) []Hash {
	n := len(leaves)
	if first == 0 && end == n {
		return proof
	}
	switch k := split(n); {
	case end <= k:
		return append(appendRange(proof, leaves[:k], first, end), Root(leaves[k:]))
	case first >= k:
		return append(appendRange(proof, leaves[k:], first-k, end-k), Root(leaves[:k]))
	default:
		return appendRange(appendRange(proof, leaves[:k], first, k), leaves[k:], 0, end-k)
	}
}

// VerifyRange reports whether proof shows that leaves stand from index first on
// in the tree of n leaves with that root. Root and n must come from a trusted
// place; the rest may come from anywhere. It does not allocate.
func VerifyRange(root Hash, n, first int, leaves, proof []Hash) bool {
	if n < 1 || first < 0 || len(leaves) == 0 || first > n-len(leaves) {
		return false
	}
	got, rest, ok := rangeRoot(n, first, leaves, proof)
	return ok && len(rest) == 0 && got == root
}

// rangeRoot returns the root of n leaves that the range and the proof lead to, and what is left of the proof.
func rangeRoot(n, first int, leaves, proof []Hash) (root Hash, rest []Hash, ok bool) {
	if len(leaves) == n {
		return Root(leaves), proof, true
	}
	k, end := split(n), first+len(leaves)
	var l, r Hash
	switch {
	case end <= k:
		if l, proof, ok = rangeRoot(k, first, leaves, proof); !ok || len(proof) == 0 {
			return Hash{}, nil, false
		}
		r, proof = proof[0], proof[1:]
	case first >= k:
		if r, proof, ok = rangeRoot(n-k, first-k, leaves, proof); !ok || len(proof) == 0 {
			return Hash{}, nil, false
		}
		l, proof = proof[0], proof[1:]
	default:
		if l, proof, ok = rangeRoot(k, first, leaves[:k-first], proof); !ok {
			return Hash{}, nil, false
		}
		if r, proof, ok = rangeRoot(n-k, 0, leaves[k-first:], proof); !ok {
			return Hash{}, nil, false
		}
	}
	return NodeHash(l, r), proof, true
}

// Prove returns PATH(index, leaves), the inclusion proof of one leaf (RFC 9162, Section 2.1.3.1).
// It panics if there is no such leaf.
func Prove(leaves []Hash, index int) []Hash {
	return ProveRange(leaves, index, index+1)
}

// Verify reports whether proof shows that leaf stands at index in the tree of
// n leaves with that root (RFC 9162, Section 2.1.3.2). Root and n must come from a trusted place.
func Verify(root Hash, n, index int, leaf Hash, proof []Hash) bool {
	return VerifyRange(root, n, index, []Hash{leaf}, proof)
}
