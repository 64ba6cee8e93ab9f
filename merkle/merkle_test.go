package merkle

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"
)

// testLeaves returns n leaf hashes that all differ.
func testLeaves(n int) []Hash {
	leaves := make([]Hash, n)
	for i := range leaves {
		leaves[i] = LeafHash(binary.BigEndian.AppendUint32(nil, uint32(i)))
	}
	return leaves
}

// oracle is x/mod's transparency log over the same leaves, an independent implementation of RFC 6962.
type oracle struct {
	stored []tlog.Hash
	n      int64
}

func newOracle(t testing.TB, leaves []Hash) *oracle {
	o := &oracle{}
	for _, l := range leaves {
		h, err := tlog.StoredHashesForRecordHash(o.n, tlog.Hash(l), o)
		if err != nil {
			t.Fatal(err)
		}
		o.stored = append(o.stored, h...)
		o.n++
	}
	return o
}

func (o *oracle) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = o.stored[x]
	}
	return out, nil
}

func TestHashesAgreeWithOracle(t *testing.T) {
	for _, data := range []string{"", "a", "firmware"} {
		if got, want := LeafHash([]byte(data)), tlog.RecordHash([]byte(data)); got != Hash(want) {
			t.Errorf("LeafHash(%q) = %v, want %v", data, got, Hash(want))
		}
	}
	for n := 1; n <= 130; n++ {
		leaves := testLeaves(n)
		o := newOracle(t, leaves)
		want, err := tlog.TreeHash(o.n, o)
		if err != nil {
			t.Fatal(err)
		}
		if got := Root(leaves); got != Hash(want) {
			t.Fatalf("Root of %d leaves = %v, want %v", n, got, Hash(want))
		}
		for i := range leaves {
			want, err := tlog.ProveRecord(o.n, int64(i), o)
			if err != nil {
				t.Fatal(err)
			}
			got := Prove(leaves, i)
			if !slices.EqualFunc(got, want, func(a Hash, b tlog.Hash) bool { return a == Hash(b) }) {
				t.Fatalf("Prove(%d of %d) = %v, want %v", i, n, got, want)
			}
			if !Verify(Root(leaves), n, i, leaves[i], got) {
				t.Fatalf("Verify(%d of %d) fails", i, n)
			}
		}
	}
}

// The roots in testdata/roots.txt were computed by an independent script.
func TestRootVectors(t *testing.T) {
	text, err := os.ReadFile("testdata/roots.txt")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		var n int
		var want string
		if _, err := fmt.Sscan(line, &n, &want); err != nil {
			t.Fatal(err)
		}
		if got := Root(testLeaves(n)).String(); got != want {
			t.Errorf("root of %d leaves = %s, want %s", n, got, want)
		}
		count++
	}
	if count < 40 {
		t.Errorf("%d vectors, want all 41", count)
	}
}

// The seven leaves of RFC 9162, Section 2.1.5.
func TestExampleOfRFC9162(t *testing.T) {
	d := testLeaves(7)
	a, b, c, e, f, j := d[0], d[1], d[2], d[4], d[5], d[6]
	g, h, i := NodeHash(a, b), NodeHash(c, d[3]), NodeHash(e, f)
	k, l := NodeHash(g, h), NodeHash(i, j)
	if got, want := Root(d), NodeHash(k, l); got != want {
		t.Errorf("root = %v, want %v", got, want)
	}
	for _, tt := range []struct {
		leaf int
		want []Hash
	}{
		{0, []Hash{b, h, l}}, // "The inclusion proof for d0 is [b, h, l]."
		{3, []Hash{c, g, l}}, // "The inclusion proof for d3 is [c, g, l]."
		{4, []Hash{f, j, k}}, // "The inclusion proof for d4 is [f, j, k]."
		{6, []Hash{i, k}},    // "The inclusion proof for d6 is [i, k]."
	} {
		if got := Prove(d, tt.leaf); !slices.Equal(got, tt.want) {
			t.Errorf("proof for d%d = %v, want %v", tt.leaf, got, tt.want)
		}
	}
}

// "The hash of an empty list is the hash of an empty string: MTH({}) = HASH()." RFC 9162, Section 2.1.1.
func TestEmptyTree(t *testing.T) {
	const want = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	if got := Root(nil).String(); got != want {
		t.Errorf("Root(nil) = %s, want %s", got, want)
	}
}

func TestRangeProofs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 300).Draw(t, "n")
		first := rapid.IntRange(0, n-1).Draw(t, "first")
		end := rapid.IntRange(first+1, n).Draw(t, "end")
		leaves := testLeaves(n)
		root, part := Root(leaves), slices.Clone(leaves[first:end])
		proof := ProveRange(leaves, first, end)
		if !VerifyRange(root, n, first, part, proof) {
			t.Fatalf("proof of %d:%d of %d does not verify", first, end, n)
		}

		bit := byte(1) << rapid.IntRange(0, 7).Draw(t, "bit")
		at := rapid.IntRange(0, HashSize-1).Draw(t, "byte")
		i := rapid.IntRange(0, len(part)+len(proof)-1).Draw(t, "hash")
		flip := func() {
			if i < len(part) {
				part[i][at] ^= bit
			} else {
				proof[i-len(part)][at] ^= bit
			}
		}
		flip()
		if VerifyRange(root, n, first, part, proof) {
			t.Fatal("a forged hash verifies")
		}
		flip()
		if VerifyRange(root, n, first, part, append(slices.Clone(proof), Hash{})) {
			t.Fatal("a proof with a hash too many verifies")
		}
		if len(proof) > 0 && VerifyRange(root, n, first, part, proof[:len(proof)-1]) {
			t.Fatal("a proof with a hash missing verifies")
		}
		if first > 0 && VerifyRange(root, n, first-1, part, proof) {
			t.Fatal("the range verifies at another place")
		}
		if len(part) > 1 && VerifyRange(root, n, first, part[1:], proof) {
			t.Fatal("a shorter range verifies")
		}
	})
}

// A node must not pass for a leaf: of two leaves and their parent, only the leaves' own hashes verify.
func TestNodeAsLeafRefused(t *testing.T) {
	leaves := testLeaves(4)
	root, node := Root(leaves), NodeHash(leaves[0], leaves[1])
	if Verify(root, 4, 0, node, []Hash{NodeHash(leaves[2], leaves[3])}) {
		t.Error("an inner node verifies as a leaf of a tree of 4")
	}
	if LeafHash(append(leaves[0][:], leaves[1][:]...)) == node {
		t.Error("a leaf of two hashes has the hash of the node above them")
	}
}

func TestAbsurdRangesRefused(t *testing.T) {
	leaves := testLeaves(3)
	for _, tt := range []struct{ n, first, count int }{
		{0, 0, 0}, {-1, 0, 1}, {3, 0, 0}, {3, -1, 1}, {3, 3, 1}, {3, 1, 3}, {3, math.MaxInt, 1}, {math.MaxInt, 5, 1}, {math.MaxInt, math.MaxInt - 1, 1}, {math.MinInt, 0, 3},
	} {
		if VerifyRange(Root(leaves), tt.n, tt.first, leaves[:tt.count], nil) {
			t.Errorf("n=%d first=%d count=%d verifies", tt.n, tt.first, tt.count)
		}
	}
}

func TestPieces(t *testing.T) {
	for n := 1; n <= 300; n++ {
		for _, most := range []int{1, 2, 7, 64} {
			leaves := testLeaves(n)
			p := PiecesFor(n, most)
			nodes := p.Nodes(leaves)
			if len(nodes) > most || p.Height > 0 && n>>(p.Height-1) < most {
				t.Fatalf("%d leaves, at most %d nodes: %d at height %d", n, most, len(nodes), p.Height)
			}
			if Root(nodes) != Root(leaves) {
				t.Fatalf("%d leaves: the %d nodes lead to another root", n, len(nodes))
			}
			next := 0
			for i, node := range nodes {
				first, end := p.Range(i)
				if first != next || end <= first || p.Of(first) != i || p.Of(end-1) != i {
					t.Fatalf("%d leaves: piece %d is %d:%d, want it to begin at %d", n, i, first, end, next)
				}
				next = end
				piece := slices.Clone(leaves[first:end])
				if !p.Verify(i, node, piece) {
					t.Fatalf("%d leaves: piece %d does not verify", n, i)
				}
				// The node, or the two below it, in place of the leaves lead to the right hash, but are too few.
				if len(piece) > 1 && p.Verify(i, node, []Hash{node}) {
					t.Fatalf("%d leaves: the node itself passes for piece %d", n, i)
				}
				if k := len(piece); k > 2 && p.Verify(i, node, []Hash{Root(piece[:split(k)]), Root(piece[split(k):])}) {
					t.Fatalf("%d leaves: inner nodes pass for piece %d", n, i)
				}
				piece[len(piece)-1][0] ^= 1
				if p.Verify(i, node, piece) || p.Verify(i, node, piece[:len(piece)-1]) || p.Verify(len(nodes), node, leaves[first:end]) {
					t.Fatalf("%d leaves: a forged piece %d verifies", n, i)
				}
			}
			if next != n {
				t.Fatalf("%d leaves: the pieces end at %d", n, next)
			}
		}
	}
}

func TestLeafSize(t *testing.T) {
	for _, tt := range []struct{ size, leafSize, count int64 }{
		{0, 64 << 10, 0},
		{1, 64 << 10, 1},
		{64 << 10, 64 << 10, 1},
		{64<<10 + 1, 64 << 10, 2},
		{4 << 30, 64 << 10, 65536},
		{4<<30 + 1, 128 << 10, 32769},
		{8 << 30, 128 << 10, 65536},
		{1<<48 - 1, 1 << 32, 65536},
		{math.MaxInt64, 1 << 47, 65536},
	} {
		got := LeafSize(tt.size)
		if got != tt.leafSize || int64(LeafCount(tt.size, got)) != tt.count {
			t.Errorf("%d bytes: %d leaves of %d, want %d of %d", tt.size, LeafCount(tt.size, got), got, tt.count, tt.leafSize)
		}
	}
}

// A count beyond int must not wrap around to a small one, on a device with 32 bits above all.
func TestLeafCountOfAbsurdImage(t *testing.T) {
	for _, size := range []int64{math.MaxInt64, 1<<48 - 1, 1 << 48} {
		if n := LeafCount(size, MinLeafSize); n <= MaxLeaves {
			t.Errorf("%d bytes in leaves of %d: %d leaves", size, MinLeafSize, n)
		}
	}
}

func TestWriterCutsLeaves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const leafSize = 16
		image := rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "image")
		var want []Hash
		for leaf := range slices.Chunk(image, leafSize) {
			want = append(want, LeafHash(leaf))
		}
		w := NewWriter(leafSize)
		for rest := image; len(rest) > 0; {
			n := rapid.IntRange(0, len(rest)).Draw(t, "write")
			w.Write(rest[:n])
			rest = rest[n:]
		}
		if got := w.Leaves(); !slices.Equal(got, want) {
			t.Fatalf("%d bytes: %d leaves %v, want %d %v", len(image), len(got), got, len(want), want)
		}
		got, size, err := HashImage(bytes.NewReader(image), leafSize)
		if err != nil || size != int64(len(image)) || !slices.Equal(got, want) {
			t.Fatalf("HashImage = %v, %d, %v", got, size, err)
		}
	})
}

func TestVerifyingDoesNotAllocate(t *testing.T) {
	leaves := testLeaves(1000)
	root, proof := Root(leaves), ProveRange(leaves, 100, 164)
	p := PiecesFor(1000, 64)
	nodes := p.Nodes(leaves)
	first, end := p.Range(3)
	for name, f := range map[string]func(){
		"Root":          func() { Root(leaves) },
		"VerifyRange":   func() { VerifyRange(root, 1000, 100, leaves[100:164], proof) },
		"Verify":        func() { Verify(root, 1000, 7, leaves[7], proof) },
		"Pieces.Verify": func() { p.Verify(3, nodes[3], leaves[first:end]) },
	} {
		if n := testing.AllocsPerRun(10, f); n != 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}
}

// FuzzVerifyRange: whatever the proof, only the true leaves verify.
func FuzzVerifyRange(f *testing.F) {
	leaves := testLeaves(13)
	root := Root(leaves)
	seed := func(n, first, end int) {
		var b []byte
		for _, h := range append(slices.Clone(leaves[first:end]), ProveRange(leaves, first, end)...) {
			b = append(b, h[:]...)
		}
		f.Add(n, first, end-first, b)
	}
	seed(13, 0, 1)
	seed(13, 3, 9)
	seed(13, 12, 13)
	seed(13, 0, 13)
	f.Add(math.MaxInt, 1, 1, make([]byte, 70*HashSize))
	f.Fuzz(func(t *testing.T, n, first, count int, b []byte) {
		var hashes []Hash
		for h := range slices.Chunk(b, HashSize) {
			if len(h) == HashSize {
				hashes = append(hashes, Hash(h))
			}
		}
		if count < 0 || count > len(hashes) {
			return
		}
		if VerifyRange(root, n, first, hashes[:count], hashes[count:]) && n == len(leaves) &&
			!slices.Equal(hashes[:count], leaves[first:first+count]) {
			t.Errorf("%d leaves from %d on are not those of the tree, yet verify", count, first)
		}
	})
}

func BenchmarkRoot(b *testing.B) {
	leaves := testLeaves(MaxLeaves)
	for b.Loop() {
		Root(leaves)
	}
}

func BenchmarkVerify(b *testing.B) {
	leaves := testLeaves(MaxLeaves)
	root, proof := Root(leaves), Prove(leaves, 12345)
	for b.Loop() {
		if !Verify(root, MaxLeaves, 12345, leaves[12345], proof) {
			b.Fatal("does not verify")
		}
	}
}
