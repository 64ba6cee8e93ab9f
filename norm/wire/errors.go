package wire

import "errors"

// Errors of Parse: what is wrong with a datagram. They are returned as they are, never wrapped, so
// that dropping a hostile datagram costs a comparison.
var (
	// ErrLength: the datagram, its hdr_len or a part of it is shorter than its type requires.
	ErrLength = errors.New("wire: bad length")
	// ErrVersion: the message is not of version 1.
	ErrVersion = errors.New("wire: unknown protocol version")
	// ErrType: the message type is not the one parsed, or not one of RFC 5740.
	ErrType = errors.New("wire: unknown message type")
	// ErrCmdType: the NORM_CMD sub-type is not the one parsed, or not one of RFC 5740.
	ErrCmdType = errors.New("wire: unknown command sub-type")
	// ErrNode: the source_id is NORM_NODE_NONE or NORM_NODE_ANY, which no participant can have.
	ErrNode = errors.New("wire: source_id is a reserved node id")
	// ErrExtension: a header extension has length zero or ends after the header.
	ErrExtension = errors.New("wire: bad header extension")
	// ErrFECID: the FEC Encoding ID is unknown, so the size of the payload id is too.
	ErrFECID = errors.New("wire: unknown fec_id")
	// ErrAckType: a NORM_CMD(ACK_REQ) asks for an acknowledgment that ACK_REQ must not ask for.
	ErrAckType = errors.New("wire: ack_type not allowed in ACK_REQ")
	// ErrStream: the fields of a stream payload contradict each other or its length.
	ErrStream = errors.New("wire: bad stream payload")
)

// Errors of AppendBinary and the other encoders: a value that its field cannot carry.
var (
	// ErrRange: a value does not fit its field.
	ErrRange = errors.New("wire: value does not fit its field")
	// ErrHeaderSize: base header and extensions exceed the 255 words that hdr_len can count.
	ErrHeaderSize = errors.New("wire: header longer than 255 words")
)
