package session

import (
	"cmp"
	"context"
	"io"
	"time"

	"github.com/multicast-upgrade/tool/norm"
)

// A StreamWriter writes to a stream that the session sends ([Session.OpenStream]). It is an [io.WriteCloser]. Its methods may
// be called from any goroutine, but content that several write at once is mixed.
type StreamWriter struct {
	session *Session
	handle  norm.Handle
	id      norm.TransportID
	room    chan struct{} // signalled when there may be room, or the stream is gone
}

// OpenStream opens a stream, as [norm.Sender.OpenStream] does.
func (s *Session) OpenStream(ctx context.Context, c norm.StreamConfig) (*StreamWriter, error) {
	w := &StreamWriter{session: s, room: make(chan struct{}, 1)}
	err := s.send(ctx, func(now time.Time) (err error) {
		if w.handle, w.id, err = s.tx.OpenStream(now, c); err == nil {
			s.streams.writers[w.handle] = w
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

// Handle returns what events and methods of the Session call the stream.
func (w *StreamWriter) Handle() norm.Handle { return w.handle }

// ID returns the NormTransportId of the stream.
func (w *StreamWriter) ID() norm.TransportID { return w.id }

// Write writes all of p, waiting for room where it must: for what was sent to be no longer needed for repair. What does not
// fill a segment stays here until Flush or Close.
func (w *StreamWriter) Write(p []byte) (n int, err error) {
	return w.WriteContext(context.Background(), p)
}

// WriteContext is Write until ctx ends; n bytes are written by then.
func (w *StreamWriter) WriteContext(ctx context.Context, p []byte) (n int, err error) {
	for {
		var wrote int
		err := w.do(ctx, func(now time.Time) (err error) {
			wrote, err = w.session.tx.Write(now, w.handle, p[n:])
			return err
		})
		n += wrote
		if err != nil || n == len(p) {
			return n, err
		}
		select {
		case <-w.room:
		case <-ctx.Done():
			return n, context.Cause(ctx)
		case <-w.session.closed:
			return n, cmp.Or(w.session.cause, ErrClosed)
		}
	}
}

// EndMessage marks the end of a message: receivers learn where the next one begins.
func (w *StreamWriter) EndMessage() error {
	return w.do(context.Background(), func(now time.Time) error { return w.session.tx.EndMessage(now, w.handle) })
}

// Flush sends what is written, and lets receivers ask for what they lack of it ([norm.FlushActive]).
func (w *StreamWriter) Flush() error { return w.FlushMode(norm.FlushActive) }

// FlushMode sends what is written.
func (w *StreamWriter) FlushMode(mode norm.FlushMode) error {
	return w.do(context.Background(), func(now time.Time) error { return w.session.tx.FlushStream(now, w.handle, mode) })
}

// Close ends the stream behind what is written. It does not wait: norm.ObjectSent tells that all is sent, norm.Flushed that
// nobody asked for more, and [Session.Acknowledged] waits for acknowledgments. To give up a stream at once, use [Session.Cancel].
func (w *StreamWriter) Close() error {
	return w.do(context.Background(), func(now time.Time) error { return w.session.tx.CloseStream(now, w.handle) })
}

func (w *StreamWriter) do(ctx context.Context, f func(now time.Time) error) error {
	return w.session.send(ctx, f)
}

// A StreamReader reads a stream that the session receives ([Config].OfferStream). It is an [io.ReadCloser]. One goroutine may
// read; Close may be called from another.
type StreamReader struct {
	session *Session
	handle  norm.Handle
	ready   chan struct{} // signalled when there may be something to read, or the stream is gone

	// Owned by the loop:
	err error // why the stream is gone
}

// Handle returns what events and methods of the Session call the stream.
func (r *StreamReader) Handle() norm.Handle { return r.handle }

// Read reads what is there, in order, or waits for something. Where content is missing for good it goes on behind it, and
// the event norm.StreamBreak tells. The error is io.EOF at the end that the sender has set, or says why the stream was aborted.
func (r *StreamReader) Read(p []byte) (n int, err error) {
	piece, err := r.ReadPiece(context.Background(), p)
	return piece.Len, err
}

// ReadPiece is Read until ctx ends, and tells where in the stream the bytes are, whether a message begins with them, and
// whether something is missing before them.
func (r *StreamReader) ReadPiece(ctx context.Context, p []byte) (norm.Piece, error) {
	for {
		var piece norm.Piece
		err := r.session.receive(ctx, func(now time.Time) (err error) {
			if piece, err = r.session.rx.ReadStream(now, r.handle, p); err != nil {
				return cmp.Or(r.err, err)
			}
			return nil
		})
		switch {
		case err != nil:
			return piece, err
		case piece.End:
			return piece, io.EOF
		case piece.Len > 0 || len(p) == 0:
			return piece, nil
		}
		select {
		case <-r.ready:
		case <-ctx.Done():
			return piece, context.Cause(ctx)
		case <-r.session.closed:
			return piece, cmp.Or(r.session.cause, ErrClosed)
		}
	}
}

// Close gives the stream up, as [Session.Abort] does.
func (r *StreamReader) Close() error {
	err := r.session.Abort(context.Background(), r.handle)
	if err == norm.ErrUnknownObject {
		return nil // is over already
	}
	return err
}

// streams are those that are open. Owned by the loop.
type streams struct {
	writers map[norm.Handle]*StreamWriter
	readers map[norm.Handle]*StreamReader
}

func newStreams() streams {
	return streams{make(map[norm.Handle]*StreamWriter), make(map[norm.Handle]*StreamReader)}
}

// wakeWriter takes an event of the sender, and reports whether it was for a StreamWriter alone.
func (s *streams) wakeWriter(e norm.Event) bool {
	w := s.writers[e.Object]
	if w == nil || e.Kind != norm.StreamWritable && e.Kind != norm.ObjectPurged {
		return false
	}
	wake(w.room)
	if e.Kind == norm.ObjectPurged {
		delete(s.writers, e.Object)
	}
	return e.Kind == norm.StreamWritable
}

// wakeReader takes an event of the receiver, and reports whether it was for a StreamReader alone.
func (s *streams) wakeReader(e norm.Event) bool {
	r := s.readers[e.Object]
	if r == nil {
		return false
	}
	switch e.Kind {
	case norm.ObjectAborted:
		r.err = e.Err
		delete(s.readers, e.Object)
	case norm.ObjectComplete:
		delete(s.readers, e.Object) // what is left of it is there to be read
	case norm.StreamReadable:
	default:
		return false
	}
	wake(r.ready)
	return e.Kind == norm.StreamReadable
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
