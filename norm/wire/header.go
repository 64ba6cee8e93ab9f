package wire

import (
	"encoding/binary"
	"fmt"
)

// Version is the protocol version of RFC 5740.
const Version = 1

// headerSize is the size of the common message header in bytes.
const headerSize = 8

// A Type is a message type (RFC 5740, Section 4.1).
type Type uint8

// Message types.
const (
	TypeInfo   Type = 1 // NORM_INFO
	TypeData   Type = 2 // NORM_DATA
	TypeCmd    Type = 3 // NORM_CMD
	TypeNack   Type = 4 // NORM_NACK
	TypeAck    Type = 5 // NORM_ACK
	TypeReport Type = 6 // NORM_REPORT
)

// String returns the RFC's name without NORM_.
func (t Type) String() string {
	switch t {
	case TypeInfo:
		return "INFO"
	case TypeData:
		return "DATA"
	case TypeCmd:
		return "CMD"
	case TypeNack:
		return "NACK"
	case TypeAck:
		return "ACK"
	case TypeReport:
		return "REPORT"
	}
	return fmt.Sprintf("Type(%d)", uint8(t))
}

// minWords returns the least hdr_len of a message of type t in words, 0 if t is unknown.
func (t Type) minWords() int {
	switch t {
	case TypeInfo, TypeCmd:
		return 4
	case TypeData:
		return 5
	case TypeNack, TypeAck:
		return 6
	case TypeReport:
		return headerSize / 4 // "the format of NORM_REPORT is undefined": the common header alone
	}
	return 0
}

// A CmdType is the sub-type of a NORM_CMD (RFC 5740, Section 4.2.3).
type CmdType uint8

// Sub-types of NORM_CMD.
const (
	CmdFlush       CmdType = 1 // NORM_CMD(FLUSH)
	CmdEOT         CmdType = 2 // NORM_CMD(EOT)
	CmdSquelch     CmdType = 3 // NORM_CMD(SQUELCH)
	CmdCC          CmdType = 4 // NORM_CMD(CC)
	CmdRepairAdv   CmdType = 5 // NORM_CMD(REPAIR_ADV)
	CmdAckReq      CmdType = 6 // NORM_CMD(ACK_REQ)
	CmdApplication CmdType = 7 // NORM_CMD(APPLICATION)
)

// String returns the RFC's name of the command, such as FLUSH.
func (t CmdType) String() string {
	switch t {
	case CmdFlush:
		return "FLUSH"
	case CmdEOT:
		return "EOT"
	case CmdSquelch:
		return "SQUELCH"
	case CmdCC:
		return "CC"
	case CmdRepairAdv:
		return "REPAIR_ADV"
	case CmdAckReq:
		return "ACK_REQ"
	case CmdApplication:
		return "APPLICATION"
	}
	return fmt.Sprintf("CmdType(%d)", uint8(t))
}

// A Header is the NORM common message header (RFC 5740, Section 4.1). Version and hdr_len are not
// kept: the one is always 1, the other follows from the message.
type Header struct {
	Type     Type // set by Parse; AppendBinary writes the type of the message whatever this says
	Sequence Sequence
	Source   NodeID // source_id
}

// Peek reads the common header of a datagram and checks what all messages have in common: the
// version, a known type, an hdr_len between that type's least and the end of the datagram, and a
// source_id that a participant can have. The error is ErrLength, ErrVersion, ErrType or ErrNode.
func Peek(b []byte) (Header, error) {
	if len(b) < headerSize {
		return Header{}, ErrLength
	}
	// "NORM implementations SHOULD ignore received messages with version numbers different from
	// their own." RFC 5740, Section 4.1.
	if b[0]>>4 != Version {
		return Header{}, ErrVersion
	}
	h := Header{
		Type:     Type(b[0] & 0x0f),
		Sequence: Sequence(binary.BigEndian.Uint16(b[2:])),
		Source:   NodeID(binary.BigEndian.Uint32(b[4:])),
	}
	words := h.Type.minWords()
	if words == 0 {
		return Header{}, ErrType
	}
	if n := int(b[1]); n < words || 4*n > len(b) {
		return Header{}, ErrLength
	}
	if !h.Source.valid() {
		return Header{}, ErrNode
	}
	return h, nil
}

// parse reads the common header of a message of type t and cuts the datagram where hdr_len says,
// into header and payload.
func (h *Header) parse(b []byte, t Type) (hdr, payload []byte, err error) {
	if *h, err = Peek(b); err != nil {
		return nil, nil, err
	}
	if h.Type != t {
		return nil, nil, ErrType
	}
	n := 4 * int(b[1])
	return b[:n:n], b[n:], nil
}

// append appends the common header of a message of type t whose base header has the given length in
// words, extensions following it.
func (h Header) append(b []byte, t Type, words int, ext Extensions) ([]byte, error) {
	if err := ext.check(); err != nil {
		return b, err
	}
	if !h.Source.valid() {
		return b, ErrNode
	}
	words += len(ext) / 4
	if words > 255 {
		return b, ErrHeaderSize
	}
	b = append(b, Version<<4|byte(t), byte(words))
	b = binary.BigEndian.AppendUint16(b, uint16(h.Sequence))
	return binary.BigEndian.AppendUint32(b, uint32(h.Source)), nil
}

// SetSequence stamps the sequence number into an encoded message, for senders that number messages
// at the moment they leave. It panics if datagram is shorter than the common header.
func SetSequence(datagram []byte, s Sequence) {
	_ = datagram[headerSize-1]
	binary.BigEndian.PutUint16(datagram[2:], uint16(s))
}

// A SenderHeader is the part common to all messages of a sender: NORM_INFO, NORM_DATA and NORM_CMD.
type SenderHeader struct {
	Instance  InstanceID
	GRTT      uint8 // grtt: GRTT_sender, coded as [EncodeRTT] does
	Backoff   uint8 // backoff: K_sender, 4 bits
	GroupSize uint8 // gsize: 4 bits, coded as [EncodeGroupSize] does
}

// PeekSender reads the headers common to all sender messages without looking at the rest, so that
// a receiver can follow sequence, instance_id and grtt even of a command or fec_id it does not know.
// The error is that of Peek, or ErrType if the message is not a sender's.
func PeekSender(b []byte) (Header, SenderHeader, error) {
	h, err := Peek(b)
	if err != nil {
		return h, SenderHeader{}, err
	}
	if h.Type != TypeInfo && h.Type != TypeData && h.Type != TypeCmd {
		return h, SenderHeader{}, ErrType
	}
	var s SenderHeader
	s.parse(b)
	return h, s, nil
}

// parse reads word 2 of hdr, which minWords promises.
func (s *SenderHeader) parse(hdr []byte) {
	s.Instance = InstanceID(binary.BigEndian.Uint16(hdr[8:]))
	s.GRTT = hdr[10]
	s.Backoff, s.GroupSize = hdr[11]>>4, hdr[11]&0x0f
}

func (s SenderHeader) check() error {
	if s.Backoff > 15 || s.GroupSize > 15 {
		return ErrRange
	}
	return nil
}

func (s SenderHeader) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(s.Instance))
	return append(b, s.GRTT, s.Backoff<<4|s.GroupSize)
}

// A FeedbackHeader is the part common to the messages of a receiver: NORM_NACK and NORM_ACK.
type FeedbackHeader struct {
	Server       NodeID     // server_id: the sender addressed
	Instance     InstanceID // the sender's instance_id
	GRTTResponse Timestamp  // grtt_response; zero if the receiver has heard no NORM_CMD(CC)
}

func (f *FeedbackHeader) parse(hdr []byte) {
	f.Server = NodeID(binary.BigEndian.Uint32(hdr[8:]))
	f.Instance = InstanceID(binary.BigEndian.Uint16(hdr[12:]))
	f.GRTTResponse = parseTimestamp(hdr[16:])
}

// append appends words 2 to 5; low is the half word that is reserved in a NACK.
func (f FeedbackHeader) append(b []byte, low uint16) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(f.Server))
	b = binary.BigEndian.AppendUint16(b, uint16(f.Instance))
	b = binary.BigEndian.AppendUint16(b, low)
	return f.GRTTResponse.append(b)
}
