// Package merkle hashes an image leaf by leaf, so that each leaf can be checked
// by itself, whatever order its bytes arrive in.
//
// The tree is that of RFC 9162, Section 2.1 (and RFC 6962) with SHA-256: a leaf
// is SHA-256(0x00 || data), a node SHA-256(0x01 || left || right), and a list of n
// leaves splits at the largest power of two smaller than n.
//
// An image of size bytes is cut in leaves of LeafSize(size) bytes, the last one
// shorter. Whoever trusts the root and the size, which both stand in the signed
// manifest, can check
//
//   - any run of leaf hashes, by a proof (VerifyRange), or by the nodes of one
//     level of the tree (Pieces), and then
//   - any leaf of the image, by its hash (Verifier).
//
// The package does no I/O of its own, starts no goroutines and imports nothing
// beyond the standard library.
package merkle

import (
	"crypto/sha256"
	"encoding/hex"
	"math/bits"
)

// HashSize is the length of a Hash in bytes (HASH_SIZE).
const HashSize = sha256.Size

// A Hash is the hash of a leaf, of a node or of a whole tree.
type Hash [HashSize]byte

// String returns the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// "Note that the hash calculations for leaves and nodes differ; this domain
// separation is required to give second preimage resistance." RFC 9162, Section 2.1.1.
const (
	leafPrefix = 0x00
	nodePrefix = 0x01
)

// LeafHash returns the hash of one leaf: SHA-256(0x00 || data).
func LeafHash(data []byte) Hash {
	h := newLeaf()
	h.write(data)
	return h.sum()
}

// NodeHash returns the hash of the node above l and r: SHA-256(0x01 || l || r).
func NodeHash(l, r Hash) Hash {
	var b [1 + 2*HashSize]byte
	b[0] = nodePrefix
	copy(b[1:], l[:])
	copy(b[1+HashSize:], r[:])
	return sha256.Sum256(b[:])
}

// Root returns MTH, the Merkle Tree Hash (RFC 9162, Section 2.1.1), of leaves
// that are hashed already. That of no leaves is the hash of the empty string.
func Root(leaves []Hash) Hash {
	switch n := len(leaves); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leaves[0]
	default:
		k := split(n)
		return NodeHash(Root(leaves[:k]), Root(leaves[k:]))
	}
}

// split returns "the largest power of two smaller than n (i.e., k < n <= 2k)", n > 1.
func split(n int) int {
	return 1 << (bits.Len(uint(n-1)) - 1)
}
