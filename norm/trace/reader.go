package trace

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// maxBlock is the most bytes of a packet or block that are read into memory.
const maxBlock = 1 << 20

// A Reader reads a capture in the format of pcap, with microseconds or nanoseconds, or of pcapng, in either byte order.
type Reader struct {
	in     *bufio.Reader
	offset int64 // of what was begun to be read last
	read   int64 // bytes read
	buf    []byte
	order  binary.ByteOrder
	next   func(*Reader) (Packet, error)

	pcap pcapFile
	ng   section
}

// NewReader reads the head of a capture. The error is a *FormatError, or that of in.
func NewReader(in io.Reader) (*Reader, error) {
	r := &Reader{in: bufio.NewReaderSize(in, 64<<10)}
	magic, err := r.in.Peek(4)
	switch {
	case errors.Is(err, io.EOF):
		return nil, &FormatError{0, "too short for a capture", nil}
	case err != nil:
		return nil, err
	case binary.BigEndian.Uint32(magic) == blockSection:
		r.next = (*Reader).nextNG
		return r, r.openNG()
	}
	r.next = (*Reader).nextPcap
	return r, r.openPcap(magic)
}

// Next returns the next packet or event; its Data are valid until the next call. The error is io.EOF at the end, a
// *FormatError, or that of the underlying reader.
func (r *Reader) Next() (Packet, error) { return r.next(r) }

// fault reports what is wrong with the block or record begun last.
func (r *Reader) fault(reason string) error { return &FormatError{r.offset, reason, nil} }

// take reads n bytes, at most maxBlock, which are valid until the next call. The error is io.EOF only if first and the
// file ends here.
func (r *Reader) take(n int, first bool) ([]byte, error) {
	if first {
		r.offset = r.read
	}
	if cap(r.buf) < n {
		r.buf = make([]byte, n)
	}
	b := r.buf[:n]
	got, err := io.ReadFull(r.in, b)
	r.read += int64(got)
	return b, r.ended(err, first)
}

// skip reads n bytes and forgets them.
func (r *Reader) skip(n int64) error {
	got, err := io.CopyN(io.Discard, r.in, n)
	r.read += got
	return r.ended(err, false)
}

// ended makes io.EOF in the middle of something a FormatError.
func (r *Reader) ended(err error, first bool) error {
	switch {
	case errors.Is(err, io.EOF) && first:
		return io.EOF
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &FormatError{r.offset, "cut off here, in the middle of a packet or block", io.ErrUnexpectedEOF}
	}
	return err
}
