package fec

import "testing"

// The oracle is RFC 5510, Section 8.2 done literally: bitwise multiplication, a Vandermonde matrix, Gauss-Jordan.
// It shares nothing with the package but the polynomial.

var slowProducts = func() (table [256][256]byte) {
	for a := range 256 {
		for b := range 256 {
			table[a][b] = slowMul(byte(a), byte(b))
		}
	}
	return table
}()

// slowMul multiplies two elements of GF(2^8) as polynomials.
func slowMul(a, b byte) byte {
	var product int
	for bit := range 8 {
		if b>>bit&1 == 1 {
			product ^= int(a) << bit
		}
	}
	for bit := 14; bit >= 8; bit-- {
		if product>>bit&1 == 1 {
			product ^= 0x11d << (bit - 8)
		}
	}
	return byte(product)
}

func slowPower(a byte, n int) byte {
	p := byte(1)
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			p = slowProducts[p][a]
		}
		a = slowProducts[a][a]
	}
	return p
}

type matrix [][]byte

func newMatrix(rows, columns int, at func(i, j int) byte) matrix {
	m := make(matrix, rows)
	for i := range m {
		m[i] = make([]byte, columns)
		for j := range m[i] {
			m[i][j] = at(i, j)
		}
	}
	return m
}

func (m matrix) times(o matrix) matrix {
	return newMatrix(len(m), len(o[0]), func(i, j int) (sum byte) {
		for l := range o {
			sum ^= slowProducts[m[i][l]][o[l][j]]
		}
		return sum
	})
}

// columns returns the first n columns of m.
func (m matrix) columns(n int) matrix {
	return newMatrix(len(m), n, func(i, j int) byte { return m[i][j] })
}

// inverse inverts a square matrix by Gauss-Jordan elimination.
func (m matrix) inverse(t *testing.T) matrix {
	n := len(m)
	work := newMatrix(n, 2*n, func(i, j int) byte {
		switch {
		case j < n:
			return m[i][j]
		case j == n+i:
			return 1
		}
		return 0
	})
	for c := range n {
		pivot := c
		for pivot < n && work[pivot][c] == 0 {
			pivot++
		}
		if pivot == n {
			t.Fatal("singular matrix")
		}
		work[c], work[pivot] = work[pivot], work[c]
		inverse := byte(1)
		for slowProducts[inverse][work[c][c]] != 1 {
			inverse++
		}
		for j := range work[c] {
			work[c][j] = slowProducts[inverse][work[c][j]]
		}
		for i := range work {
			if f := work[i][c]; i != c && f != 0 {
				for j := range work[i] {
					work[i][j] ^= slowProducts[f][work[c][j]]
				}
			}
		}
	}
	return newMatrix(n, n, func(i, j int) byte { return work[i][n+j] })
}

// vandermonde returns V of k rows and n columns: powers of the points of the dialect.
func vandermonde(d Dialect, k, n int) matrix {
	return newMatrix(k, n, func(i, j int) byte {
		if d == RFC {
			return slowPower(2, i*j) // "the {i, j} entry of V_{k,n} is v_{i,j} = alpha^(i*j)"
		}
		if j == 0 {
			return slowPower(0, i)
		}
		return slowPower(slowPower(2, j-1), i)
	})
}

// oracleMatrix returns GM = V_kk^-1 * V_kn, of k rows and n columns.
func oracleMatrix(t *testing.T, d Dialect, k, n int) matrix {
	v := vandermonde(d, k, n)
	return v.columns(k).inverse(t).times(v)
}
