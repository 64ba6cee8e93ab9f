package fec_test

import (
	"fmt"

	"github.com/multicast-upgrade/tool/norm/fec"
)

// A sender makes one parity symbol; a receiver that lost a source symbol rebuilds it from that.
func Example() {
	params := fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 8, MaxBlockLen: 4, MaxParity: 2}
	object := []byte("one image, many devices")
	blocks, err := params.Partition(uint64(len(object)))
	if err != nil {
		panic(err)
	}
	scheme, err := params.Scheme()
	if err != nil {
		panic(err)
	}

	k := blocks.BlockLen(0)
	block := make([][]byte, scheme.Symbols(k)) // indexed by ESI
	for i := range k {
		offset := blocks.Offset(0, i)
		block[i] = object[offset:][:blocks.SymbolLen(0, i)]
	}
	block[k] = make([]byte, params.SegmentSize)
	if err := scheme.Parity(block[k], block[:k], k); err != nil {
		panic(err)
	}

	block[1] = nil // lost
	rebuilt := make([][]byte, k)
	rebuilt[1] = make([]byte, blocks.SymbolLen(0, 1))
	if err := scheme.Decode(rebuilt, block); err != nil {
		panic(err)
	}
	fmt.Printf("%d symbols, of which %q was lost\n", k, rebuilt[1])
	// Output: 3 symbols, of which "e, many " was lost
}
