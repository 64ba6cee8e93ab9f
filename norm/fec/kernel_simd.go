//go:build (amd64 || arm64 || ppc64le) && !noasm && !nopshufb && !appengine && !gccgo

package fec

import "github.com/klauspost/reedsolomon"

// addMul adds f*src to dst, which is as long. The library's kernel runs in assembly under these build tags, which
// are its own; elsewhere it would allocate 32 MiB of tables.
func addMul(dst []byte, f byte, src []byte) {
	reedsolomon.LowLevel{}.GalMulSliceXor(f, src, dst)
}
