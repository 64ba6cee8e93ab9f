package merkle_test

import (
	"bytes"
	"fmt"

	"github.com/multicast-upgrade/tool/merkle"
)

// A store in memory; on a device it is a file.
type memory []byte

func (m memory) ReadAt(p []byte, off int64) (int, error)  { return copy(p, m[off:]), nil }
func (m memory) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }

// An image arrives out of order and with one forged byte; the leaf that has it is asked for again.
func ExampleVerifier() {
	image := bytes.Repeat([]byte("firmware"), 32<<10) // 256 KiB, 4 leaves
	size := int64(len(image))
	leafSize := merkle.LeafSize(size)
	leaves, _, err := merkle.HashImage(bytes.NewReader(image), leafSize)
	if err != nil {
		fmt.Println(err)
		return
	}

	v, err := merkle.NewVerifier(make(memory, size), size, leafSize)
	if err != nil {
		fmt.Println(err)
		return
	}
	v.Expect(0, leaves)

	forged := bytes.Clone(image)
	forged[70_000] ^= 1
	v.WriteAt(forged[100_000:], 100_000)
	v.WriteAt(forged[:100_000], 0)
	for e := range v.Events() {
		fmt.Printf("leaves %d to %d: verified %v\n", e.First, e.End-1, e.Verified)
	}
	for first, end := range v.Ranges(false) {
		off, n := v.Bytes(first, end)
		fmt.Printf("again: %d bytes from %d on\n", n, off)
		v.WriteAt(image[off:off+n], off)
	}
	fmt.Println("done:", v.Done())
	// Output:
	// leaves 2 to 3: verified true
	// leaves 0 to 0: verified true
	// leaves 1 to 1: verified false
	// again: 65536 bytes from 65536 on
	// done: true
}

// A server hands out single leaves by HTTP with a proof; the device trusts only the root and the number of leaves.
func ExampleVerifyRange() {
	var leaves []merkle.Hash
	for i := range 7 {
		leaves = append(leaves, merkle.LeafHash([]byte{byte(i)}))
	}
	root := merkle.Root(leaves) // from the signed manifest

	proof := merkle.ProveRange(leaves, 2, 5)
	fmt.Println(len(proof), merkle.VerifyRange(root, 7, 2, leaves[2:5], proof))
	fmt.Println(merkle.VerifyRange(root, 7, 3, leaves[2:5], proof))
	// Output:
	// 3 true
	// false
}
