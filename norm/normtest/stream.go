package normtest

import (
	"fmt"
	"time"

	"github.com/multicast-upgrade/tool/norm"
)

// streamByte is the byte at an offset of every stream, whose payload_offset wraps in 32 bits.
func streamByte(offset int64) byte {
	at := uint32(offset)
	return byte(at ^ at>>8 ^ at>>16)
}

// A SentStream is a stream of a [Sender], which writes to it what it is told to, as soon as there is room.
type SentStream struct {
	Handle norm.Handle
	ID     norm.TransportID

	sender *Sender
	offset int64       // of the next byte
	todo   []streamJob // in order
}

// A streamJob is one thing to be done to a stream.
type streamJob struct {
	bytes int                       // to be written, or
	do    func(now time.Time) error // what is behind them
}

// OpenStream opens a stream.
func (s *Sender) OpenStream(c norm.StreamConfig) (st *SentStream, err error) {
	st = &SentStream{sender: s, offset: int64(c.FirstOffset)}
	s.Host.Do(func(now time.Time) {
		if st.Handle, st.ID, err = s.Core.OpenStream(now, c); err == nil {
			s.IDs[st.Handle], s.streams[st.Handle] = st.ID, st
		}
	})
	return st, err
}

// Write writes n bytes.
func (st *SentStream) Write(n int) error { return st.perform(streamJob{bytes: n}) }

// EndMessage marks the end of a message.
func (st *SentStream) EndMessage() error {
	return st.perform(streamJob{do: func(now time.Time) error { return st.sender.Core.EndMessage(now, st.Handle) }})
}

// Flush flushes the stream.
func (st *SentStream) Flush(mode norm.FlushMode) error {
	return st.perform(streamJob{do: func(now time.Time) error { return st.sender.Core.FlushStream(now, st.Handle, mode) }})
}

// Close ends the stream.
func (st *SentStream) Close() error {
	return st.perform(streamJob{do: func(now time.Time) error { return st.sender.Core.CloseStream(now, st.Handle) }})
}

func (st *SentStream) perform(j streamJob) (err error) {
	st.todo = append(st.todo, j)
	st.sender.Host.Do(func(now time.Time) { err = st.goOn(now) })
	return err
}

// goOn does what there is room for.
func (st *SentStream) goOn(now time.Time) error {
	for len(st.todo) > 0 {
		j := &st.todo[0]
		if j.do != nil {
			if err := j.do(now); err != nil {
				return err
			}
		} else {
			b := make([]byte, j.bytes)
			for i := range b {
				b[i] = streamByte(st.offset + int64(i))
			}
			n, err := st.sender.Core.Write(now, st.Handle, b)
			st.offset += int64(n)
			if j.bytes -= n; err != nil || j.bytes > 0 {
				return err
			}
		}
		st.todo = st.todo[1:]
	}
	return nil
}

// Read reads what there is of a stream, and checks every byte. It is done whenever the stream becomes readable, unless
// Hold is set.
func (r *Receiver) Read(o *Received) {
	var buf [4096]byte
	var run norm.Piece // pieces that follow one another
	tell := func() {
		if run != (norm.Piece{}) && r.Host.net.OnRead != nil {
			r.Host.net.OnRead(r.Host, o, run)
		}
	}
	for !o.Ended {
		p, err := r.Core.ReadStream(r.Host.net.Now(), o.Handle, buf[:])
		if err != nil || p == (norm.Piece{}) {
			break
		}
		for i, b := range buf[:p.Len] {
			if at := p.Offset + int64(i); b != streamByte(at) {
				r.Host.net.fault("%s read another byte at %d of a stream than was written", r.Host.Name, at)
			}
		}
		o.Read += int64(p.Len)
		o.Ended = p.End
		if run.Len == 0 || p.Start || p.Gap || p.End || p.Offset != run.Offset+int64(run.Len) {
			tell()
			run = p
		} else {
			run.Len += p.Len
		}
	}
	tell()
}

// describePiece returns what was read in words: "read 1/1 0+64 message".
func (h *Host) describePiece(o *Received, p norm.Piece) string {
	s := fmt.Sprintf("read %s %d+%d", h.Identify(o.Handle), p.Offset, p.Len)
	if p.End {
		s = fmt.Sprintf("read %s end at %d", h.Identify(o.Handle), p.Offset)
	}
	if p.Gap {
		s += " behind a gap"
	}
	if p.Start {
		s += " message"
	}
	return s
}
