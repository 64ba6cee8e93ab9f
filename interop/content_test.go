package interop

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"

	"github.com/multicast-upgrade/tool/norm"
)

// An object is what is sent, and what is to be received.
type object struct {
	kind    norm.Kind
	info    string
	content []byte
	sizes   []int // of the messages of a stream, in turn
}

var kinds = map[norm.Kind]string{norm.Data: "data", norm.File: "file", norm.Stream: "stream"}

// content returns n bytes that look random and differ with seed.
func content(n int, seed byte) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// messages is a stream of n messages of those sizes in turn, each of which begins with its length, 2 bytes, and its number, 1
// byte.
func messages(n int, sizes []int) object {
	o := object{kind: norm.Stream, info: "a stream", sizes: sizes}
	for i := range n {
		m := content(sizes[i%len(sizes)], byte(i))
		binary.BigEndian.PutUint16(m, uint16(len(m)))
		m[2] = byte(i)
		o.content = append(o.content, m...)
	}
	return o
}

// A delivery is an object as a test compares it.
type delivery struct {
	Kind, Info string // INFO in hexadecimal
	Size       int64
	SHA256     string
}

func (o object) delivery() delivery {
	return delivery{kinds[o.kind], hex.EncodeToString([]byte(o.info)), int64(len(o.content)), digest(o.content)}
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// memory is a sink.
type memory []byte

func (m memory) WriteAt(b []byte, off int64) (int, error) { return copy(m[off:], b), nil }
func (m memory) ReadAt(b []byte, off int64) (int, error)  { return copy(b, m[off:]), nil }
