package wire_test

import (
	"fmt"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// A receiver asks for two segments of a block and a whole block, within the sender's segment size.
func ExampleRepairWriter() {
	position := func(block, symbol uint32) wire.Position {
		p, err := wire.NewPosition(wire.RS8, 0, 1, wire.PayloadID{Block: block, Symbol: symbol})
		if err != nil {
			panic(err)
		}
		return p
	}
	nack := wire.Nack{
		Header:         wire.Header{Source: 101},
		FeedbackHeader: wire.FeedbackHeader{Server: 1, Instance: 0x1234},
	}
	datagram, err := nack.AppendBinary(nil)
	if err != nil {
		panic(err)
	}
	w := wire.NewRepairWriter(datagram, 1400)
	w.Range(wire.RepairSegment, position(0, 8), position(0, 9))
	w.Item(wire.RepairBlock, position(4, 0))
	datagram = w.Bytes()

	fmt.Printf("%x\n", datagram[24:])
	fmt.Println(wire.Describe(datagram))
	// Output:
	// 0201001005000001000000080500000100000009010200080500000100000400
	// NACK segment 1/0/8-9, block 1/4
}

// A receiver reads what the group sends.
func ExampleDecoder() {
	datagram := []byte("\x12\x05\x00\x07\x0a\x00\x00\x01\x12\x34\x88\x43\x11\x05\x00\x0c\x00\x00\x09\x40\x10\x73\xeb\x3e")

	var d wire.Decoder
	msg, err := d.Parse(datagram)
	if err != nil {
		return // counted and dropped
	}
	switch m := msg.(type) {
	case *wire.Data:
		id := m.PayloadID(wire.DefaultM)
		fmt.Printf("object %d block %d symbol %d: %x\n", m.Object, id.Block, id.Symbol, m.Payload)
		fmt.Println("GRTT", wire.DecodeRTT(m.GRTT), "group size", wire.DecodeGroupSize(m.GroupSize))
	}
	// Output:
	// object 12 block 9 symbol 64: 1073eb3e
	// GRTT 105.812049ms group size 10000
}
