package wire

import "iter"

// RepairAdvFlags are the flags of a NORM_CMD(REPAIR_ADV).
type RepairAdvFlags uint8

// RepairAdvLimit is NORM_REPAIR_ADV_FLAG_LIMIT: the repair state did not fit in one message.
const RepairAdvLimit RepairAdvFlags = 0x01

// String returns "limit" or nothing.
func (f RepairAdvFlags) String() string { return flagString(uint8(f), "limit") }

// RepairAdv is a NORM_CMD(REPAIR_ADV) message (RFC 5740, Section 4.2.3.5): the sender repeats to the
// group what it was asked for by unicast feedback, so that others need not ask.
type RepairAdv struct {
	Header
	SenderHeader
	Flags      RepairAdvFlags
	Extensions Extensions // EXT_CC with the most limiting feedback, under congestion control
	Payload    []byte     // repair_adv_payload, in the format of a nack_payload: see [RepairAdv.Requests]

	Malformed int // repair requests that Requests leaves out; set by Parse
}

// Parse decodes the NORM_CMD(REPAIR_ADV) message in b, a whole datagram. It does not allocate; m may
// be reused. The reserved field is ignored.
func (m *RepairAdv) Parse(b []byte) error {
	hdr, payload, err := cmdHeader{&m.Header, &m.SenderHeader}.parse(b, CmdRepairAdv, 4)
	if err != nil {
		return err
	}
	m.Flags = RepairAdvFlags(hdr[13])
	m.Payload = payload
	if m.Extensions, err = parseExtensions(hdr[16:]); err != nil {
		return err
	}
	m.Malformed, err = checkRequests(payload)
	return err
}

// Requests returns the repair requests in their order, without the malformed ones.
func (m *RepairAdv) Requests() iter.Seq[RepairRequest] { return Requests(m.Payload) }

// AppendBinary appends the encoded message to b. With an empty Payload a [RepairWriter] can follow.
func (m *RepairAdv) AppendBinary(b []byte) ([]byte, error) {
	b, err := cmdHeader{&m.Header, &m.SenderHeader}.append(b, CmdRepairAdv, 4, m.Extensions)
	if err != nil {
		return b, err
	}
	b = append(b, byte(m.Flags), 0, 0)
	b = append(b, m.Extensions...)
	return append(b, m.Payload...), nil
}
