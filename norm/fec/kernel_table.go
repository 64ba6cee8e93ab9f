//go:build !(amd64 || arm64 || ppc64le) || noasm || nopshufb || appengine || gccgo

package fec

// addMul adds f*src to dst, which is as long.
func addMul(dst []byte, f byte, src []byte) {
	// The products of f with all bytes, built from those with 1, 2, 4, … by addition. It stays on the stack and
	// in the smallest first-level cache.
	var product [256]byte
	for n, p := 1, f; n < len(product); n, p = 2*n, double(p) {
		for i := range n {
			product[n+i] = product[i] ^ p
		}
	}
	dst = dst[:len(src)]
	for i, x := range src {
		dst[i] ^= product[x]
	}
}

// double returns αx.
func double(x byte) byte {
	y := int(x) << 1
	if y >= 1<<8 {
		y ^= polynomial
	}
	return byte(y)
}
