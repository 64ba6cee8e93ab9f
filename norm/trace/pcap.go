package trace

import (
	"encoding/binary"
	"time"
)

// Magic numbers of pcap files, as their first four bytes in the order of the writer.
const (
	magicMicro = 0xa1b2c3d4
	magicNano  = 0xa1b23c4d
)

const (
	pcapHeader = 24 // magic, version, time zone, accuracy, snapshot length, link type
	pcapRecord = 16 // seconds, fraction, captured length, length
)

// A pcapFile is what the head of a pcap file says.
type pcapFile struct {
	link LinkType
	unit time.Duration // of the fraction of a time
}

func (r *Reader) openPcap(magic []byte) error {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch order.Uint32(magic) {
		case magicMicro:
			r.order, r.pcap.unit = order, time.Microsecond
		case magicNano:
			r.order, r.pcap.unit = order, time.Nanosecond
		}
	}
	if r.order == nil {
		return r.fault("not a capture: want a pcap or pcapng file")
	}
	head, err := r.take(pcapHeader, false)
	if err != nil {
		return err
	}
	if major := r.order.Uint16(head[4:]); major != 2 {
		return r.fault("a pcap file of another version than 2")
	}
	r.pcap.link = LinkType(r.order.Uint32(head[20:])) // the upper half says how long a checksum behind each frame is
	return nil
}

func (r *Reader) nextPcap() (Packet, error) {
	head, err := r.take(pcapRecord, true)
	if err != nil {
		return Packet{}, err
	}
	sec, fraction := r.order.Uint32(head), r.order.Uint32(head[4:])
	captured, length := r.order.Uint32(head[8:]), r.order.Uint32(head[12:])
	if captured > maxBlock || length > 1<<31-1 {
		return Packet{}, r.fault("a packet longer than 1 MiB")
	}
	p := Packet{
		Time:   time.Unix(int64(sec), int64(fraction)*int64(r.pcap.unit)).UTC(),
		Link:   r.pcap.link,
		Length: int(length),
	}
	p.Data, err = r.take(int(captured), false)
	return p, err
}
