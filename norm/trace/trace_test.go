package trace

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/udp"
)

var (
	at    = time.Unix(1700000000, 123456789).UTC()
	from4 = netip.MustParseAddrPort("192.0.2.1:40000")
	to4   = netip.MustParseAddrPort("239.1.2.3:6003")
	from6 = netip.MustParseAddrPort("[2001:db8::1]:40000")
	to6   = netip.MustParseAddrPort("[ff15::1]:6003")
)

// eot is a NORM_CMD(EOT), the shortest message.
var eot = []byte{0x13, 4, 0, 8, 10, 0, 0, 1, 0x12, 0x34, 0x88, 0x43, 2, 0, 0, 0}

// readAll reads a capture to its end; data are copied.
func readAll(b []byte) (all []Packet, err error) {
	r, err := NewReader(bytes.NewReader(b))
	for err == nil {
		var p Packet
		if p, err = r.Next(); err == nil {
			p.Data = bytes.Clone(p.Data)
			all = append(all, p)
		}
	}
	if err == io.EOF {
		err = nil
	}
	return all, err
}

func samePacket(a, b Packet) bool {
	return a.Time.Equal(b.Time) && a.Link == b.Link && a.Direction == b.Direction && a.Length == b.Length &&
		bytes.Equal(a.Data, b.Data) && a.Comment == b.Comment && a.Event == b.Event
}

// written returns a file with two interfaces, and the packets in it.
func written(t testing.TB) ([]byte, []Packet) {
	var out bytes.Buffer
	w, err := NewWriter(&out, "test")
	if err != nil {
		t.Fatal(err)
	}
	w.Interface(LinkRaw, "a", "")
	w.Interface(LinkEthernet, "b", "the other one")
	frame := AppendFrame(nil, Datagram{From: from4, To: to4, B: eot})
	ether := append([]byte("\x01\x00\x5e\x01\x02\x03\x02\x00\x00\x00\x00\x01\x08\x00"), frame...)
	want := []Packet{
		{Time: at, Link: LinkRaw, Direction: Outbound, Length: len(frame), Data: frame},
		{Time: at.Truncate(time.Microsecond), Event: "object-complete sender=1"},
		{Time: at.Add(1), Link: LinkEthernet, Direction: Inbound, Length: 100, Data: ether, Comment: "cut"},
		{Time: at.Add(2), Link: LinkRaw, Length: len(frame) - 1, Data: frame[:len(frame)-1]},
	}
	w.Packet(0, want[0])
	w.Event(at, want[1].Event)
	w.Packet(1, want[2])
	w.Packet(0, want[3])
	w.Dropped(0, at, 7)
	return out.Bytes(), want
}

func TestWriteRead(t *testing.T) {
	file, want := written(t)
	got, err := readAll(file)
	if err != nil || !slices.EqualFunc(got, want, samePacket) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
	}
}

// TestCutOff: of a file that ends anywhere, the packets before are read, and the end is reported where it is within one.
func TestCutOff(t *testing.T) {
	file, want := written(t)
	for n := range file {
		got, err := readAll(file[:n])
		for i := range got {
			if !samePacket(got[i], want[i]) {
				t.Fatalf("cut at %d: packet %d is %+v", n, i, got[i])
			}
		}
		if err == nil {
			continue // between two blocks
		}
		f, ok := errors.AsType[*FormatError](err)
		if !ok || f.Offset > int64(n) || n >= 4 && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
	if _, err := readAll(file[:len(file)-3]); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut in the last block: %v", err)
	}
}

// pcap returns a file with one frame in the classic format.
func pcap(order binary.AppendByteOrder, magic uint32, fraction uint32) []byte {
	b := order.AppendUint32(nil, magic)
	b = order.AppendUint16(b, 2)
	b = order.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...)
	b = order.AppendUint32(b, 65535)
	b = order.AppendUint32(b, uint32(LinkRaw))
	for _, v := range []uint32{1700000000, fraction, 3, 5} {
		b = order.AppendUint32(b, v)
	}
	return append(b, "abc"...)
}

func TestPcap(t *testing.T) {
	for _, tt := range []struct {
		name string
		file []byte
		want time.Time
	}{
		{"little, micro", pcap(binary.LittleEndian, magicMicro, 123456), at.Truncate(time.Microsecond)},
		{"big, micro", pcap(binary.BigEndian, magicMicro, 123456), at.Truncate(time.Microsecond)},
		{"little, nano", pcap(binary.LittleEndian, magicNano, 123456789), at},
		{"big, nano", pcap(binary.BigEndian, magicNano, 123456789), at},
	} {
		got, err := readAll(tt.file)
		want := []Packet{{Time: tt.want, Link: LinkRaw, Length: 5, Data: []byte("abc")}}
		if err != nil || !slices.EqualFunc(got, want, samePacket) {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
	}
}

// ngBlock returns a block of pcapng in either byte order.
func ngBlock(o binary.AppendByteOrder, kind uint32, body ...byte) []byte {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	n := uint32(len(body) + minBlock)
	return o.AppendUint32(append(o.AppendUint32(o.AppendUint32(nil, kind), n), body...), n)
}

func ngSection(o binary.AppendByteOrder) []byte {
	b := o.AppendUint32(nil, byteOrderMagic)
	b = o.AppendUint16(o.AppendUint16(b, 1), 0)
	return ngBlock(o, blockSection, o.AppendUint64(b, 1<<64-1)...)
}

func ngInterfaceBlock(o binary.AppendByteOrder, link LinkType, snap uint32, options ...byte) []byte {
	b := o.AppendUint16(o.AppendUint16(nil, uint16(link)), 0)
	return ngBlock(o, blockInterface, append(o.AppendUint32(b, snap), options...)...)
}

// TestSections: big-endian, a second section in the other order, unknown blocks, simple packets, resolutions.
func TestSections(t *testing.T) {
	be, le := binary.BigEndian, binary.LittleEndian
	option := func(o binary.AppendByteOrder, code uint16, v ...byte) []byte {
		b := append(o.AppendUint16(o.AppendUint16(nil, code), uint16(len(v))), v...)
		return append(b, make([]byte, padded(len(v))-len(v))...)
	}
	enhanced := func(o binary.AppendByteOrder, id uint32, stamp uint64, data string) []byte {
		b := o.AppendUint32(o.AppendUint32(o.AppendUint32(nil, id), uint32(stamp>>32)), uint32(stamp))
		b = o.AppendUint32(o.AppendUint32(b, uint32(len(data))), uint32(len(data)))
		return ngBlock(o, blockEnhanced, append(b, data...)...)
	}
	file := slices.Concat(
		ngSection(be),
		ngBlock(be, 0x0bad, make([]byte, 100)...),
		ngInterfaceBlock(be, LinkEthernet, 4),
		ngBlock(be, blockSimple, append(be.AppendUint32(nil, 9), "abcd"...)...), // cut to the snapshot length
		enhanced(be, 0, 1700000000123456, "micro"),
		ngInterfaceBlock(be, LinkRaw, 0, option(be, optResolution, 0x80|10)...), // 1/1024 s
		enhanced(be, 1, 1700000000*1024+512, "half"),
		ngSection(le),
		ngInterfaceBlock(le, LinkNull, 0, slices.Concat(option(le, optResolution, 12), option(le, optTimeOffset, le.AppendUint64(nil, 100)...))...),
		enhanced(le, 0, 1700000*1e12+5e11, "pico"),
	)
	want := []Packet{
		{Link: LinkEthernet, Length: 9, Data: []byte("abcd")},
		{Time: at.Truncate(time.Microsecond), Link: LinkEthernet, Length: 5, Data: []byte("micro")},
		{Time: time.Unix(1700000000, 5e8), Link: LinkRaw, Length: 4, Data: []byte("half")},
		{Time: time.Unix(1700100, 5e8), Link: LinkNull, Length: 4, Data: []byte("pico")},
	}
	got, err := readAll(file)
	if err != nil || !slices.EqualFunc(got, want, samePacket) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
	}
}

// TestHostileFiles: each is refused with a reason, and none takes memory for what it claims.
func TestHostileFiles(t *testing.T) {
	le := binary.LittleEndian
	long := le.AppendUint32(le.AppendUint32(nil, blockEnhanced), 0xfffffff0)
	huge := pcap(le, magicMicro, 0)
	le.PutUint32(huge[24+8:], 0xffffffff)
	differ := ngBlock(le, blockInterface, make([]byte, 8)...)
	differ[len(differ)-4]++
	packet := func(id, captured uint32) []byte {
		b := le.AppendUint32(make([]byte, 0, 20), id)
		b = le.AppendUint32(append(b, make([]byte, 8)...), captured)
		return ngBlock(le, blockEnhanced, le.AppendUint32(b, captured)...)
	}
	section, ifc := ngSection(le), ngInterfaceBlock(le, LinkRaw, 0)
	for _, tt := range []struct {
		name, want string
		file       []byte
	}{
		{"empty", "at byte 0: too short for a capture", nil},
		{"text", "at byte 0: not a capture: want a pcap or pcapng file", []byte("hello, world")},
		{"no byte order", "at byte 0: a section without byte-order magic", make28(section)},
		{"pcap length", "at byte 24: a packet longer than 1 MiB", huge},
		{"block length", "at byte 28: a block longer than 1 MiB", slices.Concat(section, long)},
		{"block too short", "at byte 28: a block of a length that cannot be", slices.Concat(section, le.AppendUint32(le.AppendUint32(nil, 5), 8))},
		{"lengths differ", "at byte 28: a block whose two lengths differ", slices.Concat(section, differ)},
		{"no interface", "at byte 28: a packet of an interface that was not described", slices.Concat(section, packet(0, 0))},
		{"packet length", "at byte 48: a packet longer than its block", slices.Concat(section, ifc, packet(0, 5))},
		{"resolution", "at byte 28: an interface with a time resolution that cannot be", slices.Concat(section, ngInterfaceBlock(le, LinkRaw, 0, 9, 0, 1, 0, 99, 0, 0, 0))},
		{"option", "at byte 28: an option longer than its block", slices.Concat(section, ngInterfaceBlock(le, LinkRaw, 0, 9, 0, 200, 0))},
		{"interfaces", "at byte 81948: more than 4096 interfaces", slices.Concat(section, bytes.Repeat(ifc, 4097))},
	} {
		_, err := readAll(tt.file)
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
}

// make28 returns a section header with its byte-order magic wiped.
func make28(section []byte) []byte {
	b := bytes.Clone(section)
	clear(b[8:12])
	return b
}

// TestFrames: every link layer, with what may stand between it and the datagram.
func TestFrames(t *testing.T) {
	v4 := AppendFrame(nil, Datagram{From: from4, To: to4, ECN: 1, B: eot})
	v6 := AppendFrame(nil, Datagram{From: from6, To: to6, ECN: 2, B: eot})
	mac := make([]byte, 12)
	// edit copies a frame and changes it.
	edit := func(b []byte, f func(b []byte)) []byte { b = bytes.Clone(b); f(b); return b }
	options := slices.Insert(edit(v4, func(b []byte) { b[0] = 0x46; b[3] += 4 }), 20, 1, 1, 1, 1)
	extended := slices.Insert(edit(v6, func(b []byte) { b[6] = 0; b[5] += 24 }), 40,
		60, 0, 1, 4, 0, 0, 0, 0, // hop-by-hop, then destination options
		44, 0, 1, 4, 0, 0, 0, 0, // then fragment
		17, 0, 0, 0, 9, 9, 9, 9) // all of it in one
	for _, tt := range []struct {
		name  string
		link  LinkType
		frame []byte
		want  error
	}{
		{"raw IPv4", LinkRaw, v4, nil},
		{"raw IPv6", LinkRaw, v6, nil},
		{"Ethernet", LinkEthernet, slices.Concat(mac, []byte{8, 0}, v4), nil},
		{"Ethernet with padding", LinkEthernet, slices.Concat(mac, []byte{8, 0}, v4, make([]byte, 7)), nil},
		{"two VLAN tags", LinkEthernet, slices.Concat(mac, []byte{0x88, 0xa8, 0, 1, 0x81, 0, 0, 2, 0x86, 0xdd}, v6), nil},
		{"cooked", LinkSLL, slices.Concat(make([]byte, 14), []byte{8, 0}, v4), nil},
		{"cooked, version 2", LinkSLL2, slices.Concat([]byte{8, 0}, make([]byte, 18), v4), nil},
		{"null", LinkNull, slices.Concat([]byte{2, 0, 0, 0}, v4), nil},
		{"loop", LinkLoop, slices.Concat([]byte{0, 0, 0, 24}, v6), nil},
		{"IPv4 options", LinkRaw, options, nil},
		{"IPv6 extension headers", LinkRaw, extended, nil},
		{"ARP", LinkEthernet, slices.Concat(mac, []byte{8, 6}, make([]byte, 28)), ErrNotIP},
		{"TCP", LinkRaw, edit(v4, func(b []byte) { b[9] = 6 }), ErrNotUDP},
		{"no next header", LinkRaw, edit(v6, func(b []byte) { b[6] = 59 }), ErrNotUDP},
		{"first fragment", LinkRaw, edit(v4, func(b []byte) { b[6] = 0x20 }), ErrFragment},
		{"last fragment", LinkRaw, edit(v4, func(b []byte) { b[7] = 3 }), ErrFragment},
		{"IPv6 fragment", LinkRaw, edit(extended, func(b []byte) { b[40+16+3] = 1 }), ErrFragment},
		{"header length", LinkRaw, edit(v4, func(b []byte) { b[0] = 0x44 }), ErrHeader},
		{"total length", LinkRaw, edit(v4, func(b []byte) { b[3] = 30 }), ErrHeader},
		{"UDP length", LinkRaw, edit(v4, func(b []byte) { b[24], b[25] = 0xff, 0xff }), ErrHeader},
		{"UDP length below 8", LinkRaw, edit(v4, func(b []byte) { b[25] = 7 }), ErrHeader},
		{"nothing", LinkRaw, nil, ErrHeader},
		{"wireless", 105, v4, ErrLinkType},
	} {
		d, err := ParseFrame(tt.link, tt.frame)
		if err != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		} else if err == nil {
			from, to, ecn := from4, to4, uint8(1)
			if d.To.Addr().Is6() {
				from, to, ecn = from6, to6, 2
			}
			if d.From != from || d.To != to || d.ECN != ecn || !bytes.Equal(d.B, eot) || d.Length != len(eot) {
				t.Errorf("%s: %+v", tt.name, d)
			}
		}
		for n := range tt.frame { // cut anywhere: a reason, or less of the payload
			if d, err := ParseFrame(tt.link, tt.frame[:n]); err == nil && (d.Length != len(eot) || !bytes.HasPrefix(eot, d.B)) {
				t.Errorf("%s, cut at %d: %+v", tt.name, n, d)
			}
		}
	}
}

// TestChecksums: what AppendFrame writes sums up to all ones, for even and odd lengths.
func TestChecksums(t *testing.T) {
	for n := range 40 {
		b := bytes.Repeat([]byte{0xfe}, n)
		v4 := AppendFrame(nil, Datagram{From: from4, To: to4, B: b})
		if s := fold(sum(0, v4[:20])); s != 0xffff {
			t.Errorf("IPv4 header sums up to %x", s)
		}
		if s := fold(sum(sum(uint64(17+8+n), v4[12:20]), v4[20:])); s != 0xffff {
			t.Errorf("UDP over IPv4 with %d bytes sums up to %x", n, s)
		}
		v6 := AppendFrame(nil, Datagram{From: from6, To: to6, B: b})
		if s := fold(sum(sum(uint64(17+8+n), v6[8:40]), v6[40:])); s != 0xffff {
			t.Errorf("UDP over IPv6 with %d bytes sums up to %x", n, s)
		}
	}
}

// A disk is a file that can be made to stand still or to fail.
type disk struct {
	bytes.Buffer
	open   chan struct{} // Write waits until it is closed
	err    error
	closed bool
}

func (d *disk) Write(b []byte) (int, error) {
	<-d.open
	if d.err != nil {
		return 0, d.err
	}
	return d.Buffer.Write(b)
}

func (d *disk) Close() error { d.closed = true; return nil }

func TestRecorder(t *testing.T) {
	d := &disk{open: make(chan struct{})}
	close(d.open)
	r := NewRecorder(d, Limits{})
	r.Sent(at, from4, []udp.Message{{To: to4, B: eot}, {To: to4, B: eot[:8]}})
	r.Received(at.Add(1), []udp.Message{{From: from6, To: to6, B: eot, ECN: 3}})
	r.Event(at.Add(2), "object-complete", slog.Uint64("sender", 1))
	if err := r.Close(); err != nil || !d.closed {
		t.Fatalf("%v, closed %v", err, d.closed)
	}
	r.Event(at, "late")
	all, err := readAll(d.Bytes())
	if err != nil || len(all) != 4 {
		t.Fatalf("%v, %+v", err, all)
	}
	for i, want := range []struct {
		way  Direction
		d    Datagram
		text string
	}{
		{Outbound, Datagram{From: from4, To: to4, B: eot}, ""},
		{Outbound, Datagram{From: from4, To: to4, B: eot[:8]}, ""},
		{Inbound, Datagram{From: from6, To: to6, B: eot, ECN: 3}, ""},
		{text: "object-complete sender=1"},
	} {
		p := all[i]
		if p.Event != want.text || p.Direction != want.way {
			t.Errorf("%d: %+v", i, p)
		}
		if p.Event != "" {
			continue
		}
		got, err := ParseFrame(p.Link, p.Data)
		if err != nil || got.From != want.d.From || got.To != want.d.To || got.ECN != want.d.ECN || !bytes.Equal(got.B, want.d.B) {
			t.Errorf("%d: %+v, %v", i, got, err)
		}
	}
}

// TestRecorderSlowDisk: nobody waits for a disk that stands still; what is missing is counted, and said in the file.
func TestRecorderSlowDisk(t *testing.T) {
	d := &disk{open: make(chan struct{})}
	r := NewRecorder(d, Limits{Pending: 4000})
	const sent = 1000
	for range sent {
		r.Sent(at, from4, []udp.Message{{To: to4, B: eot}})
	}
	dropped := r.Dropped()
	if dropped < sent-2*4000/50 || dropped >= sent {
		t.Errorf("%d of %d dropped", dropped, sent)
	}
	close(d.open)
	if err := r.Close(); err == nil || !strings.Contains(err.Error(), "are missing") {
		t.Errorf("Close: %v", err)
	}
	all, err := readAll(d.Bytes())
	if err != nil || len(all) != sent-int(dropped)+1 || !strings.Contains(all[len(all)-1].Event, "are missing") {
		t.Errorf("%d packets, %v", len(all), err)
	}
}

// TestRecorderLimits: the file does not grow beyond its size, and an error of the disk comes out of Close.
func TestRecorderLimits(t *testing.T) {
	d := &disk{open: make(chan struct{})}
	close(d.open)
	r := NewRecorder(d, Limits{Size: 1000})
	for range 100 {
		r.Sent(at, from4, []udp.Message{{To: to4, B: eot}})
	}
	if err := r.Close(); err == nil || r.Dropped() < 80 || d.Len() > 1500 {
		t.Errorf("%v, %d dropped, %d bytes", err, r.Dropped(), d.Len())
	}
	broken := &disk{open: d.open, err: errors.New("disk full")}
	r = NewRecorder(broken, Limits{})
	if err := r.Close(); err != broken.err {
		t.Errorf("Close: %v", err)
	}
}
