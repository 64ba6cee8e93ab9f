package wire

import (
	"encoding/binary"
	"strings"
)

// CCFlags are the cc_flags of a receiver, in EXT_CC and in the cc_node_list of NORM_CMD(CC).
type CCFlags uint8

// Bits of CCFlags; others are ignored.
const (
	CCFlagCLR   CCFlags = 0x01 // NORM_FLAG_CC_CLR: the current limiting receiver
	CCFlagPLR   CCFlags = 0x02 // NORM_FLAG_CC_PLR: a potential limiting receiver
	CCFlagRTT   CCFlags = 0x04 // NORM_FLAG_CC_RTT: cc_rtt is a measurement
	CCFlagStart CCFlags = 0x08 // NORM_FLAG_CC_START: in slow start, no loss seen
	CCFlagLeave CCFlags = 0x10 // NORM_FLAG_CC_LEAVE: about to leave the session
)

// String returns the names of the bits in lower case, separated by "|".
func (f CCFlags) String() string { return flagString(uint8(f), "clr", "plr", "rtt", "start", "leave") }

// flagString names the set bits from the lowest on; bits beyond names are left out.
func flagString(f uint8, names ...string) string {
	var b strings.Builder
	for i, name := range names {
		if f&(1<<i) == 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('|')
		}
		b.WriteString(name)
	}
	return b.String()
}

// An ExtCC is the NORM-CC Feedback Header Extension, EXT_CC (RFC 5740, Section 4.2.3.5).
type ExtCC struct {
	Sequence CCSequence // cc_sequence: of the latest NORM_CMD(CC) heard
	Flags    CCFlags
	RTT      uint8  // cc_rtt, coded as [EncodeRTT] does; a measurement only if CCFlagRTT is set
	Loss     uint16 // cc_loss, coded as [EncodeLoss] does
	Rate     uint16 // cc_rate, coded as [EncodeRate] does
}

const extCCSize = 12

// CC returns EXT_CC; ok is false if there is none, or one too short. cc_reserved is ignored.
func (e Extensions) CC() (x ExtCC, ok bool) {
	ext, ok := e.find(TypeExtCC, extCCSize)
	if !ok {
		return ExtCC{}, false
	}
	return ExtCC{
		Sequence: CCSequence(binary.BigEndian.Uint16(ext[2:])),
		Flags:    CCFlags(ext[4]),
		RTT:      ext[5],
		Loss:     binary.BigEndian.Uint16(ext[6:]),
		Rate:     binary.BigEndian.Uint16(ext[8:]),
	}, true
}

// AppendCC appends EXT_CC, with cc_reserved: "senders SHALL set this field to ZERO, and receivers SHALL
// ignore the content of this field."
func AppendCC(b Extensions, x ExtCC) Extensions {
	b = append(b, byte(TypeExtCC), extCCSize/4)
	b = binary.BigEndian.AppendUint16(b, uint16(x.Sequence))
	b = append(b, byte(x.Flags), x.RTT)
	b = binary.BigEndian.AppendUint16(b, x.Loss)
	b = binary.BigEndian.AppendUint16(b, x.Rate)
	return append(b, 0, 0)
}
