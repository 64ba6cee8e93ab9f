package trace

import (
	"encoding/binary"
	"io"
	"strconv"
	"strings"
	"time"
)

// journalTime is the field of a journal entry that has its time, in microseconds since 1970.
const journalTime = "__REALTIME_TIMESTAMP"

// A Writer writes a pcapng file, little-endian, with times in nanoseconds.
type Writer struct {
	out        io.Writer
	buf        []byte
	interfaces []LinkType
}

// NewWriter begins a file; application is who writes it.
func NewWriter(out io.Writer, application string) (*Writer, error) {
	w := &Writer{out: out}
	w.begin(blockSection)
	w.u32(byteOrderMagic)
	w.u16(1)         // version 1.0
	w.u16(0)         //
	w.u64(1<<64 - 1) // length of the section: not said
	w.option(optApplication, application)
	return w, w.end()
}

// Interface describes an interface, and returns its number. What the description should say in words, may be empty.
func (w *Writer) Interface(link LinkType, name, description string) (id int, err error) {
	w.begin(blockInterface)
	w.u16(uint16(link))
	w.u16(0)
	w.u32(0) // no snapshot length
	w.option(optName, name)
	w.option(optDescription, description)
	w.option(optResolution, "\x09")
	w.interfaces = append(w.interfaces, link)
	return len(w.interfaces) - 1, w.end()
}

// Packet writes a frame of an interface; the link type of p is not looked at.
func (w *Writer) Packet(id int, p Packet) error {
	w.begin(blockEnhanced)
	w.u32(uint32(id))
	stamp := uint64(p.Time.UnixNano())
	w.u32(uint32(stamp >> 32))
	w.u32(uint32(stamp))
	w.u32(uint32(len(p.Data)))
	w.u32(uint32(max(p.Length, len(p.Data))))
	w.buf = append(w.buf, p.Data...)
	w.pad()
	if p.Direction != Unknown {
		w.option(optFlags, string([]byte{byte(p.Direction), 0, 0, 0}))
	}
	w.option(optComment, p.Comment)
	return w.end()
}

// Event writes something that happened between frames, in one line. It is an entry of a systemd journal, which Wireshark
// lists among the packets.
func (w *Writer) Event(at time.Time, text string) error {
	w.begin(blockJournal)
	w.buf = append(w.buf, journalTime+"="...)
	w.buf = strconv.AppendInt(w.buf, at.UnixMicro(), 10)
	w.buf = append(w.buf, "\nSYSLOG_IDENTIFIER=norm\nMESSAGE="...)
	w.buf = append(w.buf, strings.ReplaceAll(text, "\n", " ")...)
	w.buf = append(w.buf, '\n')
	w.pad()
	return w.end()
}

// Dropped writes how many frames of an interface are missing in the file.
func (w *Writer) Dropped(id int, at time.Time, frames uint64) error {
	w.begin(blockStats)
	w.u32(uint32(id))
	stamp := uint64(at.UnixNano())
	w.u32(uint32(stamp >> 32))
	w.u32(uint32(stamp))
	w.option(optDropped, string(binary.LittleEndian.AppendUint64(nil, frames)))
	return w.end()
}

// begin begins a block; its length is filled in by end.
func (w *Writer) begin(kind uint32) {
	w.buf = w.buf[:0]
	w.u32(kind)
	w.u32(0)
}

// end ends the block and writes it. Its options, if it has some, are not marked as ended: that is optional.
func (w *Writer) end() error {
	n := uint32(len(w.buf) + 4)
	w.u32(n)
	binary.LittleEndian.PutUint32(w.buf[4:], n)
	_, err := w.out.Write(w.buf)
	return err
}

// option writes an option, unless it is empty.
func (w *Writer) option(code uint16, value string) {
	value = value[:min(len(value), 1<<15)]
	if value == "" {
		return
	}
	w.u16(code)
	w.u16(uint16(len(value)))
	w.buf = append(w.buf, value...)
	w.pad()
}

func (w *Writer) pad() {
	for len(w.buf)%4 != 0 {
		w.buf = append(w.buf, 0)
	}
}

func (w *Writer) u16(v uint16) { w.buf = binary.LittleEndian.AppendUint16(w.buf, v) }
func (w *Writer) u32(v uint32) { w.buf = binary.LittleEndian.AppendUint32(w.buf, v) }
func (w *Writer) u64(v uint64) { w.buf = binary.LittleEndian.AppendUint64(w.buf, v) }
