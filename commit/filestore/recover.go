package filestore

import (
	"encoding/binary"
	"fmt"
	"io"
)

// recover reads the frames from l.size on, replays them, and cuts off a torn last one.
func (l *Log) recover(replay func(rec []byte) error) error {
	end, err := l.f.Size()
	if err != nil {
		return err
	}
	buf := make([]byte, 0, 4096)
	for l.size < end {
		payload, ok, err := l.readFrame(&buf, l.size, end, l.next, l.next)
		if err == nil && !ok { // once more, and from storage: what was read wrong must not be cut off
			if err = l.f.DropCache(); err == nil {
				payload, ok, err = l.readFrame(&buf, l.size, end, l.next, l.next)
			}
		}
		if err != nil {
			return err
		}
		if !ok {
			return l.cut(end)
		}
		if err := records(payload, replay); err != nil {
			return err
		}
		l.size += int64(frameSize + len(payload))
		l.next++
	}
	return nil
}

// readFrame reads the frame at off into *buf; ok tells whether a whole one with a sequence in [from, to] is there.
func (l *Log) readFrame(buf *[]byte, off, end int64, from, to uint64) (payload []byte, ok bool, err error) {
	var header [frameSize]byte
	if end-off < frameSize {
		return nil, false, nil
	}
	if err := l.readAt(header[:], off); err != nil {
		return nil, false, err
	}
	n := int64(binary.BigEndian.Uint32(header[:]))
	seq := binary.BigEndian.Uint64(header[4:])
	if n == 0 || n > MaxAppend || n > end-off-frameSize || seq < from || seq > to {
		return nil, false, nil
	}
	if int64(cap(*buf)) < n {
		*buf = make([]byte, n)
	}
	payload = (*buf)[:n]
	if err := l.readAt(payload, off+frameSize); err != nil {
		return nil, false, err
	}
	return payload, l.check(header[:12], payload) == binary.BigEndian.Uint32(header[12:]), nil
}

func (l *Log) readAt(b []byte, off int64) error {
	n, err := l.f.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func records(payload []byte, replay func(rec []byte) error) error {
	for len(payload) > 0 {
		if len(payload) < 4 {
			return fmt.Errorf("%w: record without length", ErrCorrupt)
		}
		n := int64(binary.BigEndian.Uint32(payload))
		payload = payload[4:]
		if n > int64(len(payload)) {
			return fmt.Errorf("%w: record longer than its frame", ErrCorrupt)
		}
		if err := replay(payload[:n:n]); err != nil {
			return err
		}
		payload = payload[n:]
	}
	return nil
}

// cut removes the bytes from l.size to end, where no whole frame starts, if a crash can have left them: since each
// frame is durable before the next is written, what follows a torn frame is nothing. A whole later frame behind it
// means that bytes once durable have changed, and that is not for us to drop.
func (l *Log) cut(end int64) error {
	// One append writes at most this much, so a longer rest was not left by one.
	if end-l.size > frameSize+MaxAppend {
		return fmt.Errorf("%w: %d bytes from offset %d on are no frames", ErrCorrupt, end-l.size, l.size)
	}
	rest := make([]byte, end-l.size)
	if err := l.readAt(rest, l.size); err != nil {
		return err
	}
	for i := 1; i+frameSize <= len(rest); i++ {
		// The sequence is tested first: it is nearly always wrong, which keeps this linear.
		seq := binary.BigEndian.Uint64(rest[i+4:])
		if seq <= l.next || seq > l.next+uint64(len(rest)) {
			continue
		}
		n := int64(binary.BigEndian.Uint32(rest[i:]))
		if n == 0 || n > int64(len(rest)-i-frameSize) {
			continue
		}
		payload := rest[i+frameSize:][:n]
		if l.check(rest[i:i+12], payload) == binary.BigEndian.Uint32(rest[i+12:]) {
			return fmt.Errorf("%w: frame %d at offset %d is damaged, but frame %d is whole", ErrCorrupt, l.next, l.size, seq)
		}
	}
	l.torn = int64(len(rest))
	if l.readOnly {
		return nil
	}
	if err := l.f.Truncate(l.size); err != nil {
		return err
	}
	return l.f.Sync()
}
