package wire

import (
	"encoding"
	"fmt"
	"log/slog"
)

// A Message is any message of this package: *Info, *Data, *Flush, *EOT, *Squelch, *CC, *RepairAdv,
// *AckReq, *Application, *Nack, *Ack or *Report.
type Message interface {
	encoding.BinaryAppender
	fmt.Stringer
	slog.LogValuer
	Parse(b []byte) error

	describe(Reading) string
	fields(Reading) []slog.Attr
}

// A Decoder parses datagrams of any type into messages that it holds and reuses.
type Decoder struct {
	Info        Info
	Data        Data
	Flush       Flush
	EOT         EOT
	Squelch     Squelch
	CC          CC
	RepairAdv   RepairAdv
	AckReq      AckReq
	Application Application
	Nack        Nack
	Ack         Ack
	Report      Report
}

// Parse parses a datagram of any type. The message is valid until the next Parse, and as long as the
// datagram is; it is nil if there is an error.
func (d *Decoder) Parse(b []byte) (Message, error) {
	m, err := d.choose(b)
	if err != nil {
		return nil, err
	}
	if err := m.Parse(b); err != nil {
		return nil, err
	}
	return m, nil
}

func (d *Decoder) choose(b []byte) (Message, error) {
	h, err := Peek(b)
	if err != nil {
		return nil, err
	}
	switch h.Type {
	case TypeInfo:
		return &d.Info, nil
	case TypeData:
		return &d.Data, nil
	case TypeNack:
		return &d.Nack, nil
	case TypeAck:
		return &d.Ack, nil
	case TypeReport:
		return &d.Report, nil
	}
	switch CmdType(b[12]) { // TypeCmd, of which Peek has seen 16 bytes
	case CmdFlush:
		return &d.Flush, nil
	case CmdEOT:
		return &d.EOT, nil
	case CmdSquelch:
		return &d.Squelch, nil
	case CmdCC:
		return &d.CC, nil
	case CmdRepairAdv:
		return &d.RepairAdv, nil
	case CmdAckReq:
		return &d.AckReq, nil
	case CmdApplication:
		return &d.Application, nil
	}
	return nil, ErrCmdType
}
