package session

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/multicast-upgrade/tool/norm"
)

// MaxMessage is the longest message that a [MessageWriter] writes, in bytes.
const MaxMessage = 1<<16 - 1 - messageHeader

// messageHeader is the length that stands before each message, itself included, in 2 bytes, the high one first.
const messageHeader = 2

// A MessageWriter writes messages to a stream, each behind its length, and marks where they begin: as the programs normStreamSend
// and normStreamer of NRL's implementation do.
type MessageWriter struct {
	w   *StreamWriter
	buf []byte

	// Flush sends each message at once, by a short segment if need be.
	Flush bool
}

// NewMessageWriter returns a writer of messages to w, which is to be at the start of one.
func NewMessageWriter(w *StreamWriter) *MessageWriter { return &MessageWriter{w: w} }

// WriteMessage writes a message of up to MaxMessage bytes. When ctx ends before all of it is written, the stream is of no
// more use.
func (w *MessageWriter) WriteMessage(ctx context.Context, message []byte) error {
	if len(message) > MaxMessage {
		return fmt.Errorf("session: message of %d bytes: want at most %d", len(message), MaxMessage)
	}
	w.buf = binary.BigEndian.AppendUint16(w.buf[:0], uint16(messageHeader+len(message)))
	w.buf = append(w.buf, message...)
	if _, err := w.w.WriteContext(ctx, w.buf); err != nil {
		return err
	}
	if err := w.w.EndMessage(); err != nil || !w.Flush {
		return err
	}
	return w.w.FlushMode(norm.FlushPassive)
}

// A MessageReader reads the messages of a stream that a [MessageWriter] writes. It begins where the first message begins, and
// when content is missing it goes on where the next one does that the sender could mark.
type MessageReader struct {
	r      *StreamReader
	framer framer
	buf    [4096]byte
}

// NewMessageReader returns a reader of the messages of r.
func NewMessageReader(r *StreamReader) *MessageReader { return &MessageReader{r: r} }

// ReadMessage returns the next message, which is valid until the next call. Errors are those of [StreamReader.ReadPiece].
func (r *MessageReader) ReadMessage(ctx context.Context) ([]byte, error) {
	for {
		if m, ok := r.framer.next(); ok {
			return m, nil
		}
		piece, err := r.r.ReadPiece(ctx, r.buf[:])
		if err != nil {
			return nil, err
		}
		r.framer.add(piece, r.buf[:piece.Len])
	}
}

// Skipped returns how many bytes belonged to no whole message: before the first, around breaks, and behind lengths that
// contradict where messages begin.
func (r *MessageReader) Skipped() int64 { return r.framer.skipped }

// A framer cuts the pieces of a stream into messages.
type framer struct {
	synced  bool
	pending []byte // from the start of a message on
	taken   int    // of them, by messages returned
	skipped int64
}

// add takes a piece of the stream.
func (f *framer) add(p norm.Piece, b []byte) {
	f.pending = append(f.pending[:0], f.pending[f.taken:]...)
	f.taken = 0
	if p.Gap || p.Start {
		f.skipped += int64(len(f.pending)) // the end of it is lost, or its length was wrong
		f.pending = f.pending[:0]
		f.synced = p.Start
	}
	if !f.synced {
		f.skipped += int64(len(b))
		return
	}
	f.pending = append(f.pending, b...)
}

// next returns the next message if it is whole.
func (f *framer) next() (message []byte, ok bool) {
	rest := f.pending[f.taken:]
	if len(rest) < messageHeader {
		return nil, false
	}
	n := int(binary.BigEndian.Uint16(rest))
	switch {
	case n < messageHeader: // not what we read: wait for another start
		f.skipped += int64(len(rest))
		f.pending, f.taken, f.synced = f.pending[:0], 0, false
		return nil, false
	case len(rest) < n:
		return nil, false
	}
	f.taken += n
	return rest[messageHeader:n], true
}
