package merkle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// ErrState is returned for a saved state that is damaged or belongs to an image of another shape.
var ErrState = errors.New("merkle: not a saved state of this image")

const (
	stateMagic  = "merkle1\n"
	stateHeader = len(stateMagic) + 8 + 8 // size, leaf size
)

// AppendBinary appends which leaves are verified (encoding.BinaryAppender), for Restore.
//
// The format is: "merkle1\n", size and leaf size (64 bits each, big-endian), a
// bit for each leaf (leaf 0 is the lowest bit of the first byte), and the
// CRC-32 (IEEE) of all that.
func (v *Verifier) AppendBinary(b []byte) ([]byte, error) {
	at := len(b)
	b = append(b, stateMagic...)
	b = binary.BigEndian.AppendUint64(b, uint64(v.size))
	b = binary.BigEndian.AppendUint64(b, uint64(v.leafSize))
	bits := len(b)
	b = append(b, make([]byte, (len(v.state)+7)/8)...)
	for i, s := range v.state {
		if s == verified {
			b[bits+i/8] |= 1 << (i % 8)
		}
	}
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[at:])), nil
}

// Restore takes the leaves of a saved state as verified, without reading them;
// no event tells of them. It trusts that the state was saved after the store
// had them for good. Where that is not certain, follow it with Recheck, or use
// Recheck alone. Leaves whose hash is not known yet (Expect) are passed over.
// The error is ErrState, and then nothing changed.
func (v *Verifier) Restore(state []byte) error {
	n := stateHeader + (len(v.state)+7)/8
	if len(state) != n+4 || string(state[:len(stateMagic)]) != stateMagic ||
		crc32.ChecksumIEEE(state[:n]) != binary.BigEndian.Uint32(state[n:]) ||
		binary.BigEndian.Uint64(state[len(stateMagic):]) != uint64(v.size) ||
		binary.BigEndian.Uint64(state[len(stateMagic)+8:]) != uint64(v.leafSize) {
		return ErrState
	}
	for i := range v.state {
		if state[stateHeader+i/8]&(1<<(i%8)) != 0 && v.state[i] == expected {
			v.state[i] = verified
			v.stats.Verified++
			v.forget(i)
		}
	}
	return nil
}

// Recheck reads the leaves first <= i < end back from the store and compares
// them with their expected hashes. Those found right become verified, wherever
// they came from; those that were verified and are not right any more are
// rejected; partly received ones keep what they have. Leaves whose hash is
// not known yet (Expect) are passed over.
func (v *Verifier) Recheck(first, end int) error {
	if first < 0 || end > len(v.state) || first > end {
		return ErrBounds
	}
	r := run{hash: newLeaf()}
	for leaf := first; leaf < end; leaf++ {
		if s := v.state[leaf]; s != expected && s != verified {
			continue
		}
		r.hash.reset()
		r.leaf = leaf
		r.next, _ = v.span(leaf)
		got, err := v.finishRun(&r)
		if err != nil && err != io.ErrUnexpectedEOF { // a store that ends early lacks the leaf
			return fmt.Errorf("merkle: reading leaf %d back: %w", leaf, err)
		}
		right := err == nil && got == v.hashes[leaf]
		switch was := v.state[leaf] == verified; {
		case right && !was:
			v.decide(leaf, got)
		case !right && was:
			v.stats.Wrong++
			v.reject(leaf)
		}
	}
	return nil
}
