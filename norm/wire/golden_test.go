package wire

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
)

// A golden is a message in bytes, in fields, and in words.
type golden struct {
	name string
	hex  string // spaced by field; "|" where the payload begins
	want Message
	text string // want.String()
}

// goldens are whole messages computed by an independent script. Sender 0x0a000001, receiver 0x0a000065,
// instance 0x1234, GRTT 0.1 s, backoff 4, group size 10,000.
var goldens = []golden{
	{
		name: "INFO with EXT_FTI", // N-4.2.2-02
		// v/type, hdr_len, sequence, source_id, instance, grtt, backoff/gsize, flags, fec_id, object
		hex: `11 07 0006 0a000001  1234 88 43  14 05 000c
		      40 03 000001400000 0578 40 60 | 612e747874`,
		want: &Info{Header{TypeInfo, 6, sender}, fromSender, FlagInfo | FlagFile, RS8, 12,
			fti(RS8, FTI{ObjectSize: 20971520, SegmentSize: 1400, MaxBlockLen: 64, MaxN: 96}), []byte("a.txt")},
		text: "INFO 12",
	},
	{
		name: "DATA 129", // N-4.1-01 N-4.2.1-14 N-4.2.1-15
		// ..., flags, fec_id, object, source_block_number, source_block_len, encoding_symbol_id
		hex: `12 06 0007 0a000001  1234 88 43  10 81 000c  00000003 0020 0002 | 4142434445464748`,
		want: &Data{Header{TypeData, 7, sender}, fromSender, FlagFile,
			at(SmallBlock, 12, PayloadID{3, 32, 2}), nil, []byte("ABCDEFGH")},
		text: "DATA 12/3/2",
	},
	{
		name: "DATA 129 with EXT_FTI",
		hex: `12 0a 0007 0a000001  1234 88 43  10 81 000c  00000000 0020 0000
		      40 04 000001400000 0000 0578 0040 0020 | 4142434445464748`,
		want: &Data{Header{TypeData, 7, sender}, fromSender, FlagFile, at(SmallBlock, 12, PayloadID{0, 32, 0}),
			fti(SmallBlock, FTI{ObjectSize: 20971520, SegmentSize: 1400, MaxBlockLen: 64, NumParity: 32}),
			[]byte("ABCDEFGH")},
		text: "DATA 12/0/0",
	},
	{
		name: "DATA of a stream", // N-4.2.1-55: the 8 bytes are not counted in hdr_len
		hex:  `12 05 0007 0a000001  1234 88 43  20 05 0003  000007 02 | 0005 0001 00001000 68656c6c6f`,
		want: &Data{Header{TypeData, 7, sender}, fromSender, FlagStream, at(RS8, 3, PayloadID{7, 0, 2}), nil,
			streamPayload(StreamHeader{Len: 5, MsgStart: 1, Offset: 4096}, "hello")},
		text: "DATA 3/7/2",
	},
	{
		name: "DATA at the end of a stream", // N-4.2.1-59: "payload_len" 0 and control code 0
		hex:  `12 05 0007 0a000001  1234 88 43  20 05 0003  000007 03 | 0000 0000 00001005`,
		want: &Data{Header{TypeData, 7, sender}, fromSender, FlagStream, at(RS8, 3, PayloadID{7, 0, 3}), nil,
			streamPayload(StreamHeader{MsgStart: StreamEnd, Offset: 4101}, "")},
		text: "DATA 3/7/3",
	},
	{
		name: "DATA repair parity",
		hex:  `12 05 0007 0a000001  1234 88 43  11 05 000c  000009 40 | 1073eb3e`,
		want: &Data{Header{TypeData, 7, sender}, fromSender, FlagFile | FlagRepair,
			at(RS8, 12, PayloadID{9, 0, 64}), nil, unhex("1073eb3e")},
		text: "DATA 12/9/64 repair",
	},
	{
		name: "FLUSH", // N-4.2.3.1-03 N-4.2.3-01
		// ..., sub-type, fec_id, object, block, source_block_len, symbol | acking_node_list
		hex: `13 06 0008 0a000001  1234 88 43  01 81 000c  000000ea 003f 003e | 0a000065 0a000066`,
		want: &Flush{Header{TypeCmd, 8, sender}, fromSender, at(SmallBlock, 12, PayloadID{234, 63, 62}), nil,
			AppendNode(AppendNode(nil, receiver), receiver+1)},
		text: "CMD(FLUSH) 12/234/62 ack 167772261,167772262",
	},
	{
		name: "EOT", // N-4.2.3.2-01
		hex:  `13 04 0008 0a000001  1234 88 43  02 000000`,
		want: &EOT{Header{TypeCmd, 8, sender}, fromSender, nil},
		text: "CMD(EOT)",
	},
	{
		name: "SQUELCH", // N-4.2.3.3-01
		hex:  `13 05 0008 0a000001  1234 88 43  03 05 000a  000000 00 | 000d 0011`,
		want: &Squelch{Header{TypeCmd, 8, sender}, fromSender, at(RS8, 10, PayloadID{}), nil,
			AppendObject(AppendObject(nil, 13), 17)},
		text: "CMD(SQUELCH) 10/0/0 invalid 13,17",
	},
	{
		name: "CC with EXT_RATE", // N-4.2.3.4-01 N-4.2.3.4-06 N-4.2.3.4-11
		// ..., sub-type, reserved, cc_sequence, sec, usec, EXT_RATE | node, flags, rtt, rate
		hex: `13 07 0008 0a000001  1234 88 43  04 00 0005  6553f100 0003d090  80 00 ccd3 | 0a000065 05 88 ccd3`,
		want: &CC{Header{TypeCmd, 8, sender}, fromSender, 5, Timestamp{1700000000, 250000},
			AppendRate(nil, EncodeRate(8000)),
			AppendCCNode(nil, CCNode{receiver, CCFlagCLR | CCFlagRTT, 0x88, EncodeRate(8000)})},
		text: "CMD(CC) 5 rate 8000 nodes 167772261",
	},
	{
		name: "REPAIR_ADV with EXT_CC", // N-4.2.3.5-01 N-4.2.3.5-07
		// ..., sub-type, flags, reserved, EXT_CC | repair request
		hex: `13 07 0008 0a000001  1234 88 43  05 00 0000  03 03 0005 04 88 028f ccd3 0000 |
		      02 01 0010  05 00 000c 000009 40  05 00 000c 000009 42`,
		want: &RepairAdv{Header: Header{TypeCmd, 8, sender}, SenderHeader: fromSender,
			Extensions: AppendCC(nil, feedback), Payload: parity64to66()},
		text: "CMD(REPAIR_ADV) segment 12/9/64-66",
	},
	{
		name: "ACK_REQ", // N-4.2.3.6-01
		// ..., sub-type, reserved, ack_type, ack_id | acking_node_list
		hex:  `13 04 0008 0a000001  1234 88 43  06 00 10 01 | 0a000065`,
		want: &AckReq{Header{TypeCmd, 8, sender}, fromSender, AckApplication, 1, nil, AppendNode(nil, receiver)},
		text: "CMD(ACK_REQ) 16 id 1 ack 167772261",
	},
	{
		name: "APPLICATION", // N-4.2.3.7-01
		hex:  `13 04 0008 0a000001  1234 88 43  07 000000 | 70696e67`,
		want: &Application{Header{TypeCmd, 8, sender}, fromSender, nil, []byte("ping")},
		text: "CMD(APPLICATION) 4 bytes",
	},
	{
		name: "NACK with EXT_CC", // N-4.3.1-01
		// v/type, hdr_len, sequence, source_id, server_id, instance, reserved, sec, usec, EXT_CC | request
		hex: `14 09 0001 0a000065  0a000001 1234 0000  6553f100 0004630c  03 03 0005 04 88 028f ccd3 0000 |
		      02 01 0010  05 00 000c 000009 40  05 00 000c 000009 42`,
		want: &Nack{Header: Header{TypeNack, 1, receiver}, FeedbackHeader: toSender,
			Extensions: AppendCC(nil, feedback), Payload: parity64to66()},
		text: "NACK segment 12/9/64-66",
	},
	{
		name: "ACK(CC) in slow start", // N-4.3.2-01 N-4.3.2-03
		// ..., server_id, instance, ack_type, ack_id, sec, usec, EXT_CC
		hex: `15 09 0002 0a000065  0a000001 1234 01 00  6553f100 0004630c  03 03 0005 08 ff 0000 28f4 0000`,
		want: &Ack{Header{TypeAck, 2, receiver}, toSender, AckCC, 0,
			AppendCC(nil, ExtCC{Sequence: 5, Flags: CCFlagStart, RTT: 0xff, Rate: EncodeRate(16000)}), nil},
		text: "ACK(CC)",
	},
	{
		name: "ACK(FLUSH)", // N-4.3.2-04: the item repeats the fields of FLUSH above
		hex: `15 09 0002 0a000065  0a000001 1234 02 00  6553f100 0004630c  03 03 0005 04 88 028f ccd3 0000 |
		      81 00 000c 000000ea 003f 003e`,
		want: &Ack{Header{TypeAck, 2, receiver}, toSender, AckFlush, 0, AppendCC(nil, feedback),
			item(at(SmallBlock, 12, PayloadID{234, 63, 62}))},
		text: "ACK(FLUSH) 12/234/62",
	},
	{
		name: "EOT with EXT_AUTH", // A-3.1-01
		hex: `13 09 0008 0a000001  1234 88 43  02 000000
		      01 05 1 0 00 ab313b78e4ff1b55669e94f832ee6f03`,
		want: &EOT{Header{TypeCmd, 8, sender}, fromSender,
			auth(ExtAuth{ASID: 1, Tag: unhex("ab313b78e4ff1b55669e94f832ee6f03")})},
		text: "CMD(EOT)",
	},
	{
		name: "REPORT",
		hex:  `16 02 0003 0a000065 | 01020304`,
		want: &Report{Header{TypeReport, 3, receiver}, unhex("01020304")},
		text: "REPORT 4 bytes",
	},
}

const (
	sender   NodeID = 0x0a000001
	receiver NodeID = 0x0a000065
)

var (
	fromSender = SenderHeader{Instance: 0x1234, GRTT: 0x88, Backoff: 4, GroupSize: 3}
	toSender   = FeedbackHeader{Server: sender, Instance: 0x1234, GRTTResponse: Timestamp{1700000000, 287500}}
	feedback   = ExtCC{Sequence: 5, Flags: CCFlagRTT, RTT: 0x88, Loss: EncodeLoss(0.01), Rate: EncodeRate(8000)}
)

// at, fti, auth, item and streamPayload build parts of golden messages, which always fit.
func at(id FECID, object TransportID, p PayloadID) Position {
	return must(NewPosition(id, 8, object, p))
}
func fti(id FECID, f FTI) Extensions                   { return must(AppendFTI(nil, id, f)) }
func auth(x ExtAuth) Extensions                        { return must(AppendAuth(nil, x)) }
func item(p Position) []byte                           { return must(p.AppendItem(nil)) }
func streamPayload(h StreamHeader, data string) []byte { return append(must(h.Append(nil)), data...) }

// parity64to66 is the payload of a NACK for parity symbols 64 to 66 of object 12, block 9.
func parity64to66() []byte {
	w := NewRepairWriter(nil, 1400)
	w.Range(RepairSegment, at(RS8, 12, PayloadID{9, 0, 64}), at(RS8, 12, PayloadID{9, 0, 66}))
	return w.Bytes()
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// unhex decodes hex, leaving out whatever is not a hex digit.
func unhex(s string) []byte {
	return must(hex.DecodeString(strings.Map(func(r rune) rune {
		if strings.ContainsRune("0123456789abcdef", r) {
			return r
		}
		return -1
	}, s)))
}

// split returns a golden's bytes and where its payload begins.
func (g golden) split() (pkt []byte, payload int) {
	header, _, _ := strings.Cut(g.hex, "|")
	return unhex(g.hex), len(unhex(header))
}

// same compares messages of one type, an empty slice being equal to nil.
func same(a, b Message) bool { return reflect.DeepEqual(normalize(a), normalize(b)) }

func normalize(m Message) any {
	v := reflect.New(reflect.TypeOf(m).Elem()).Elem()
	v.Set(reflect.ValueOf(m).Elem())
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Slice && f.Len() == 0 {
			f.SetZero()
		}
	}
	return v.Interface()
}

func allGoldens() []golden { return append(append([]golden(nil), goldens...), nrlGoldens...) }

// TestGolden: whole messages, big-endian, which name nodes and never addresses. N-4-02
func TestGolden(t *testing.T) {
	var d Decoder // reused from message to message, as a driver does
	for _, g := range allGoldens() {
		t.Run(g.name, func(t *testing.T) {
			pkt, payload := g.split()

			m, err := d.Parse(pkt)
			if err != nil {
				t.Fatalf("Parse(%x): %v", pkt, err)
			}
			if !same(m, g.want) {
				t.Errorf("parsed\n got %+v\nwant %+v", normalize(m), normalize(g.want))
			}
			if out, err := g.want.AppendBinary(nil); err != nil || !bytes.Equal(out, pkt) {
				t.Errorf("encoded\n got %x, %v\nwant %x", out, err, pkt)
			}
			if out, err := m.AppendBinary([]byte("before")); err != nil || string(out) != "before"+string(pkt) {
				t.Errorf("parsed and encoded\n got %x, %v\nwant %x", out, err, pkt)
			}
			if pkt[0]>>4 != 1 { // N-4.1-02
				t.Errorf("version %d, want 1", pkt[0]>>4)
			}
			if 4*int(pkt[1]) != payload { // N-4.1-05
				t.Errorf("hdr_len %d words, but the payload begins at byte %d", pkt[1], payload)
			}
			if got := Describe(pkt); got != g.text {
				t.Errorf("Describe = %q, want %q", got, g.text)
			}
		})
	}
}
