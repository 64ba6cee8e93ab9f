package wire

// nrlGoldens are messages sent by the NRL implementation. Sender 0x01020304, instance 0x1234, GRTT
// 0.2663 s, backoff 4, group size 1,000; receiver 0x0a0b0c0d. Payload data of INFO and DATA and the
// times of feedback, which do not matter here, are made up.
var nrlGoldens = []golden{
	{
		name: "NRL CC with EXT_RATE 200 kbit/s",
		hex:  `13 07 0000 01020304  1234 94 42  04 00 0000  6b02b4dd 00019272  80 00 4004`,
		want: &CC{nrlCmd(0), fromNRL, 0, nrlSendTime, AppendRate(nil, EncodeRate(25000)), nil},
		text: "CMD(CC) 0 rate 25000",
	},
	{
		name: "NRL CC with a node: CLR, RTT, START",
		hex:  `13 07 0005 01020304  1234 94 42  04 00 0000  6b02b4dd 00019272  80 00 3333 | 0a0b0c0d 0d 6b 3335`,
		want: &CC{nrlCmd(5), fromNRL, 0, nrlSendTime, AppendRate(nil, 0x3333),
			AppendCCNode(nil, CCNode{nrlReceiver, CCFlagCLR | CCFlagRTT | CCFlagStart, 0x6b, 0x3335})},
		text: "CMD(CC) 0 rate 2000 nodes 168496141",
	},
	{
		name: "NRL INFO of 100 bytes, E 16, B 4, 4 parity",
		hex:  `11 07 0001 01020304  1234 94 42  04 05 0000  40 03 000000000064 0010 04 04 | 6869`,
		want: &Info{Header{TypeInfo, 1, nrlSender}, fromNRL, FlagInfo, RS8, 0, nrlFTI, []byte("hi")},
		text: "INFO 0",
	},
	{
		name: "NRL DATA 5",
		hex: `12 08 0002 01020304  1234 94 42  04 05 0000  000000 00  40 03 000000000064 0010 04 04 |
		      000102030405060708090a0b0c0d0e0f`,
		want: &Data{Header{TypeData, 2, nrlSender}, fromNRL, FlagInfo, at(RS8, 0, PayloadID{}), nrlFTI,
			unhex("000102030405060708090a0b0c0d0e0f")},
		text: "DATA 0/0/0",
	},
	{
		name: "NRL DATA 129 of 33 bytes",
		hex: `12 0a 0001 01020304  1234 94 42  00 81 0000  00000000 0003 0000
		      40 04 000000000021 0000 0010 0004 0002 | 00`,
		want: &Data{Header{TypeData, 1, nrlSender}, fromNRL, 0, at(SmallBlock, 0, PayloadID{0, 3, 0}),
			fti(SmallBlock, FTI{ObjectSize: 33, SegmentSize: 16, MaxBlockLen: 4, NumParity: 2}), unhex("00")},
		text: "DATA 0/0/0",
	},
	{
		name: "NRL DATA 2, m = 16",
		hex: `12 09 0001 01020304  1234 94 42  00 02 0000  0000 0000
		      40 04 000000000021 10 01 0010 00fa 000a | 00`,
		want: &Data{Header{TypeData, 1, nrlSender}, fromNRL, 0, at(RS, 0, PayloadID{}),
			fti(RS, FTI{ObjectSize: 33, M: 16, G: 1, SegmentSize: 16, MaxBlockLen: 250, MaxN: 10}), unhex("00")},
		text: "DATA 0/0/0",
	},
	{
		name: "NRL DATA 2, m = 8",
		hex: `12 09 0001 01020304  1234 94 42  00 02 0000  000000 00
		      40 04 000000000021 08 01 0010 0004 0002 | 00`,
		want: &Data{Header{TypeData, 1, nrlSender}, fromNRL, 0, at(RS, 0, PayloadID{}),
			fti(RS, FTI{ObjectSize: 33, SegmentSize: 16, MaxBlockLen: 4, MaxN: 2}), unhex("00")},
		text: "DATA 0/0/0",
	},
	{
		name: "NRL FLUSH 5",
		hex:  `13 05 0011 01020304  1234 94 42  01 05 0000  000001 02`,
		want: &Flush{nrlCmd(0x11), fromNRL, at(RS8, 0, PayloadID{1, 0, 2}), nil, nil},
		text: "CMD(FLUSH) 0/1/2",
	},
	{
		name: "NRL FLUSH 129, acking node 7",
		hex:  `13 06 0005 01020304  1234 94 42  01 81 0000  00000000 0003 0002 | 00000007`,
		want: &Flush{nrlCmd(5), fromNRL, at(SmallBlock, 0, PayloadID{0, 3, 2}), nil, AppendNode(nil, 7)},
		text: "CMD(FLUSH) 0/0/2 ack 7",
	},
	{
		name: "NRL SQUELCH, nothing listed",
		hex:  `13 05 0070 01020304  1234 5f 42  03 05 0000  000000 00`,
		want: &Squelch{nrlCmd(0x70), SenderHeader{0x1234, 0x5f, 4, 2}, at(RS8, 0, PayloadID{}), nil, nil},
		text: "CMD(SQUELCH) 0/0/0",
	},
	{
		name: "NRL REPAIR_ADV", // its cc_sequence and cc_reserved are uninitialized memory
		hex: `13 07 0013 01020304  1234 94 42  05 00 0000  03 03 026b 04 94 0000 4004 0003 |
		      01 01 0010  05 00 0000 000000 04  05 00 0000 000000 05
		      02 02 0010  05 00 0000 000001 00  05 00 0000 000003 00`,
		want: &RepairAdv{Header: nrlCmd(0x13), SenderHeader: fromNRL,
			Extensions: unhex("0303026b 04940000 40040003"), Payload: nrlRequests()},
		text: "CMD(REPAIR_ADV) segment 0/0/4, segment 0/0/5, block 0/1-3",
	},
	{
		name: "NRL DATA at the end of a stream",
		hex: `12 08 0003 01020304  1234 94 42  20 05 0000  000000 02  40 03 000000000064 0010 04 04 |
		      0000 0000 00000014`,
		want: &Data{Header{TypeData, 3, nrlSender}, fromNRL, FlagStream, at(RS8, 0, PayloadID{0, 0, 2}), nrlFTI,
			streamPayload(StreamHeader{Offset: 20}, "")},
		text: "DATA 0/0/2",
	},
	{
		name: "NRL NACK for one parity symbol",
		hex:  nrlNackHeader + `| 01 01 0008  05 00 0000 000000 04`,
		want: nrlNack(func(w *RepairWriter) { w.Item(RepairSegment, at(RS8, 0, PayloadID{0, 0, 4})) }),
		text: "NACK segment 0/0/4",
	},
	{
		name: "NRL NACK for blocks 1 to 4",
		hex:  nrlNackHeader + `| 02 02 0010  05 00 0000 000001 00  05 00 0000 000004 00`,
		want: nrlNack(func(w *RepairWriter) {
			w.Range(RepairBlock, at(RS8, 0, PayloadID{Block: 1}), at(RS8, 0, PayloadID{Block: 4}))
		}),
		text: "NACK block 0/1-4",
	},
	{
		name: "NRL NACK for objects 1 to 4",
		hex:  nrlNackHeader + `| 02 08 0010  05 00 0001 00000000  05 00 0004 00000000`,
		want: nrlNack(func(w *RepairWriter) {
			w.Range(RepairObject, at(RS8, 1, PayloadID{}), at(RS8, 4, PayloadID{}))
		}),
		text: "NACK object 1-4",
	},
	{
		name: "NRL NACK for INFO",
		hex:  nrlNackHeader + `| 01 04 0008  05 00 0000 00000000`,
		want: nrlNack(func(w *RepairWriter) { w.Item(RepairInfo, at(RS8, 0, PayloadID{})) }),
		text: "NACK info 0",
	},
	{
		name: "NRL ACK(FLUSH)",
		hex: `15 09 0000 0a0b0c0d  01020304 0001 02 00  00000000 00000000  03 03 0000 08 94 0000 5003 0000 |
		      05 00 0000 000000 03`,
		want: &Ack{Header{TypeAck, 0, nrlReceiver}, FeedbackHeader{Server: nrlSender, Instance: 1}, AckFlush, 0,
			AppendCC(nil, ExtCC{Flags: CCFlagStart, RTT: 0x94, Rate: 0x5003}),
			item(at(RS8, 0, PayloadID{0, 0, 3}))},
		text: "ACK(FLUSH) 0/0/3",
	},
	{
		name: "NRL ACK(CC)",
		hex:  `15 09 0000 0a0b0c0d  01020304 0001 01 00  6b02b4dd 00019272  03 03 0001 08 94 0000 0001 0000`,
		want: &Ack{Header{TypeAck, 0, nrlReceiver}, FeedbackHeader{nrlSender, 1, nrlSendTime}, AckCC, 0,
			AppendCC(nil, ExtCC{Sequence: 1, Flags: CCFlagStart, RTT: 0x94, Rate: 0x0001}), nil},
		text: "ACK(CC)",
	},
}

const (
	nrlSender   NodeID = 0x01020304
	nrlReceiver NodeID = 0x0a0b0c0d
	// v/type, hdr_len, sequence, source_id, server_id, instance, reserved, grtt_response sec, usec
	nrlNackHeader = `14 06 0000 0a0b0c0d  01020304 0001 0000  00000000 00000000`
)

var (
	fromNRL     = SenderHeader{Instance: 0x1234, GRTT: 0x94, Backoff: 4, GroupSize: 2}
	nrlSendTime = Timestamp{0x6b02b4dd, 103026}
	// The NRL implementation writes the number of parity symbols into max_n.
	nrlFTI = fti(RS8, FTI{ObjectSize: 100, SegmentSize: 16, MaxBlockLen: 4, MaxN: 4})
)

func nrlCmd(s Sequence) Header { return Header{TypeCmd, s, nrlSender} }

func nrlNack(write func(w *RepairWriter)) *Nack {
	w := NewRepairWriter(nil, 1400)
	write(&w)
	return &Nack{Header: Header{TypeNack, 0, nrlReceiver},
		FeedbackHeader: FeedbackHeader{Server: nrlSender, Instance: 1}, Payload: w.Bytes()}
}

func nrlRequests() []byte {
	w := NewRepairWriter(nil, 1400)
	w.Item(RepairSegment, at(RS8, 0, PayloadID{0, 0, 4}))
	w.Item(RepairSegment, at(RS8, 0, PayloadID{0, 0, 5}))
	w.Range(RepairBlock, at(RS8, 0, PayloadID{Block: 1}), at(RS8, 0, PayloadID{Block: 3}))
	return w.Bytes()
}
