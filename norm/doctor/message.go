package doctor

import (
	"encoding/binary"
	"errors"
)

// messageSize is the size of a message without padding.
const messageSize = 40

const (
	magic         = "NDOC"
	formatVersion = 1
)

type kind uint8

const (
	beacon   kind = 1 // I am here
	question kind = 2 // do you hear me?
	answer   kind = 3 // so I heard you
	request  kind = 4 // send probes
	probe    kind = 5
)

type via uint8

const (
	byGroup   via = 1
	byUnicast via = 2
)

// A message is what the two sides send each other: see the package's doc.
type message struct {
	kind         kind
	via          via
	ttl          uint8
	run          uint64
	cookie       uint64
	seq          uint32
	rate         uint32 // kbit/s
	count        uint16
	size         uint16
	heardTTL     uint8
	heardUnicast bool
}

// append appends the message to b, padded to size bytes if it is shorter.
func (m *message) append(b []byte, size int) []byte {
	start := len(b)
	b = append(b, magic...)
	b = append(b, formatVersion, byte(m.kind), byte(m.via), m.ttl)
	b = binary.BigEndian.AppendUint64(b, m.run)
	b = binary.BigEndian.AppendUint64(b, m.cookie)
	b = binary.BigEndian.AppendUint32(b, m.seq)
	b = binary.BigEndian.AppendUint32(b, m.rate)
	b = binary.BigEndian.AppendUint16(b, m.count)
	b = binary.BigEndian.AppendUint16(b, m.size)
	heard := byte(0)
	if m.heardUnicast {
		heard = 1
	}
	b = append(b, m.heardTTL, heard, 0, 0)
	if pad := size - (len(b) - start); pad > 0 {
		b = append(b, make([]byte, pad)...)
	}
	return b
}

var errNotOurs = errors.New("no message of a doctor")

// parse reads a message; padding is ignored.
func (m *message) parse(b []byte) error {
	if len(b) < messageSize || string(b[:4]) != magic || b[4] != formatVersion {
		return errNotOurs
	}
	*m = message{
		kind: kind(b[5]), via: via(b[6]), ttl: b[7],
		run: binary.BigEndian.Uint64(b[8:]), cookie: binary.BigEndian.Uint64(b[16:]),
		seq: binary.BigEndian.Uint32(b[24:]), rate: binary.BigEndian.Uint32(b[28:]),
		count: binary.BigEndian.Uint16(b[32:]), size: binary.BigEndian.Uint16(b[34:]),
		heardTTL: b[36], heardUnicast: b[37] == 1,
	}
	if m.kind < beacon || m.kind > probe || m.via < byGroup || m.via > byUnicast {
		return errNotOurs
	}
	return nil
}
