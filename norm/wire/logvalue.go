package wire

import (
	"bytes"
	"log/slog"
)

// The fields of each message under their names in RFC 5740, in the order they have on the wire. Logs and decoders show
// these and no others.

func (m *Data) fields(r Reading) []slog.Attr {
	attrs := append(senderAttrs("NORM_DATA", m.Header, m.SenderHeader), slog.String("flags", m.Flags.String()))
	attrs = append(attrs, m.Position.attrs(r)...)
	attrs = append(attrs, extAttrs(m.Extensions, m.FECID)...)
	if m.Flags&FlagStream != 0 && m.isSource(r) {
		attrs = append(attrs, streamAttrs(m.Payload)...)
	}
	return append(attrs, slog.Int("payload", len(m.Payload)))
}

func (m *Info) fields(Reading) []slog.Attr {
	attrs := append(senderAttrs("NORM_INFO", m.Header, m.SenderHeader),
		slog.String("flags", m.Flags.String()),
		slog.Uint64("fec_id", uint64(m.FECID)),
		slog.Uint64("object_transport_id", uint64(m.Object)))
	attrs = append(attrs, extAttrs(m.Extensions, m.FECID)...)
	return append(attrs, payloadAttrs(m.Payload)...)
}

func (m *Flush) fields(r Reading) []slog.Attr {
	attrs := append(senderAttrs("NORM_CMD(FLUSH)", m.Header, m.SenderHeader), m.Position.attrs(r)...)
	attrs = append(attrs, extAttrs(m.Extensions, m.FECID)...)
	return append(attrs, listAttr("acking_node_list", m.AckingNodes.All()))
}

func (m *EOT) fields(Reading) []slog.Attr {
	return append(senderAttrs("NORM_CMD(EOT)", m.Header, m.SenderHeader), extAttrs(m.Extensions, noFEC)...)
}

func (m *Squelch) fields(r Reading) []slog.Attr {
	attrs := append(senderAttrs("NORM_CMD(SQUELCH)", m.Header, m.SenderHeader), m.Position.attrs(r)...)
	attrs = append(attrs, extAttrs(m.Extensions, m.FECID)...)
	return append(attrs, listAttr("invalid_object_list", m.Invalid.All()))
}

func (m *CC) fields(Reading) []slog.Attr {
	attrs := append(senderAttrs("NORM_CMD(CC)", m.Header, m.SenderHeader),
		slog.Uint64("cc_sequence", uint64(m.CCSequence)),
		slog.Uint64("send_time_sec", uint64(m.SendTime.Sec)),
		slog.Uint64("send_time_usec", uint64(m.SendTime.Usec)))
	attrs = append(attrs, extAttrs(m.Extensions, noFEC)...)
	var nodes list
	for n := range m.Nodes.All() {
		nodes = append(nodes, slog.GroupValue(
			slog.Uint64("cc_node_id", uint64(n.Node)),
			slog.String("cc_flags", n.Flags.String()),
			slog.Duration("cc_rtt", DecodeRTT(n.RTT)),
			slog.Float64("cc_rate", DecodeRate(n.Rate))))
	}
	return append(attrs, slog.Any("cc_node_list", nodes))
}

func (m *RepairAdv) fields(r Reading) []slog.Attr {
	attrs := append(senderAttrs("NORM_CMD(REPAIR_ADV)", m.Header, m.SenderHeader),
		slog.String("flags", m.Flags.String()))
	attrs = append(attrs, extAttrs(m.Extensions, noFEC)...)
	return append(attrs, requestAttrs("repair_adv_payload", m.Payload, m.Malformed, r)...)
}

func (m *AckReq) fields(Reading) []slog.Attr {
	attrs := append(senderAttrs("NORM_CMD(ACK_REQ)", m.Header, m.SenderHeader),
		slog.String("ack_type", m.AckType.String()),
		slog.Uint64("ack_id", uint64(m.AckID)))
	attrs = append(attrs, extAttrs(m.Extensions, noFEC)...)
	return append(attrs, listAttr("acking_node_list", m.AckingNodes.All()))
}

func (m *Application) fields(Reading) []slog.Attr {
	attrs := append(senderAttrs("NORM_CMD(APPLICATION)", m.Header, m.SenderHeader), extAttrs(m.Extensions, noFEC)...)
	return append(attrs, payloadAttrs(m.Payload)...)
}

func (m *Nack) fields(r Reading) []slog.Attr {
	attrs := append(feedbackAttrs("NORM_NACK", m.Header, m.FeedbackHeader), extAttrs(m.Extensions, noFEC)...)
	return append(attrs, requestAttrs("nack_payload", m.Payload, m.Malformed, r)...)
}

func (m *Ack) fields(r Reading) []slog.Attr {
	attrs := append(feedbackAttrs("NORM_ACK", m.Header, m.FeedbackHeader),
		slog.String("ack_type", m.AckType.String()),
		slog.Uint64("ack_id", uint64(m.AckID)))
	attrs = append(attrs, extAttrs(m.Extensions, noFEC)...)
	if p, ok := m.Watermark(); ok {
		return append(attrs, p.attrs(r)...)
	}
	return append(attrs, payloadAttrs(m.Payload)...)
}

func (m *Report) fields(Reading) []slog.Attr {
	return append(headerAttrs("NORM_REPORT", m.Header), slog.Int("content", len(m.Content)))
}

func headerAttrs(name string, h Header) []slog.Attr {
	return append(make([]slog.Attr, 0, 20),
		slog.String("type", name),
		slog.Uint64("sequence", uint64(h.Sequence)),
		slog.Uint64("source_id", uint64(h.Source)))
}

func senderAttrs(name string, h Header, s SenderHeader) []slog.Attr {
	return append(headerAttrs(name, h),
		slog.Uint64("instance_id", uint64(s.Instance)),
		slog.Duration("grtt", DecodeRTT(s.GRTT)),
		slog.Uint64("backoff", uint64(s.Backoff)),
		slog.Float64("gsize", DecodeGroupSize(s.GroupSize)))
}

func feedbackAttrs(name string, h Header, f FeedbackHeader) []slog.Attr {
	return append(headerAttrs(name, h),
		slog.Uint64("server_id", uint64(f.Server)),
		slog.Uint64("instance_id", uint64(f.Instance)),
		slog.Uint64("grtt_response_sec", uint64(f.GRTTResponse.Sec)),
		slog.Uint64("grtt_response_usec", uint64(f.GRTTResponse.Usec)))
}

func (p Position) attrs(r Reading) []slog.Attr {
	id := p.PayloadID(r.M)
	attrs := append(make([]slog.Attr, 0, 3), slog.Uint64("source_block_number", uint64(id.Block)))
	if p.FECID == SmallBlock {
		attrs = append(attrs, slog.Uint64("source_block_len", uint64(id.BlockLen)))
	}
	attrs = append(attrs, slog.Uint64("encoding_symbol_id", uint64(id.Symbol)))
	return []slog.Attr{
		slog.Uint64("fec_id", uint64(p.FECID)),
		slog.Uint64("object_transport_id", uint64(p.Object)),
		{Key: "fec_payload_id", Value: slog.GroupValue(attrs...)},
	}
}

// isSource reports whether p is known to be a source symbol.
func (p Position) isSource(r Reading) bool {
	id := p.PayloadID(r.M)
	switch p.FECID {
	case NoCode:
		return true
	case SmallBlock:
		return id.Symbol < uint32(id.BlockLen)
	}
	return id.Symbol < r.MaxBlockLen
}

// streamAttrs are the stream payload header of a source segment, or that it contradicts itself.
func streamAttrs(payload []byte) []slog.Attr {
	h, _, err := ParseStreamPayload(payload)
	if err != nil {
		return []slog.Attr{slog.String("stream_payload", err.Error())}
	}
	attrs := []slog.Attr{slog.Uint64("payload_len", uint64(h.Len))}
	if code, ok := h.Control(); ok {
		attrs = append(attrs, slog.Uint64("stream_control_code", uint64(code)))
	} else {
		attrs = append(attrs, slog.Uint64("payload_msg_start", uint64(h.MsgStart)))
	}
	return append(attrs, slog.Uint64("payload_offset", uint64(h.Offset)))
}

// maxText is up to which length content that is text is shown as such.
const maxText = 255

// payloadAttrs are the length of a payload and, where it is short printable ASCII such as a file name, its text.
func payloadAttrs(b []byte) []slog.Attr {
	attrs := []slog.Attr{slog.Int("payload", len(b))}
	if 0 < len(b) && len(b) <= maxText && bytes.IndexFunc(b, func(r rune) bool { return r < ' ' || r > '~' }) < 0 {
		attrs = append(attrs, slog.String("payload_text", string(b)))
	}
	return attrs
}

// requestAttrs are the repair requests, and how many of them are malformed, if any.
func requestAttrs(name string, payload []byte, malformed int, r Reading) []slog.Attr {
	attrs := []slog.Attr{slog.Any(name, requests{payload, r})}
	if malformed > 0 {
		attrs = append(attrs, slog.Int("malformed_requests", malformed))
	}
	return attrs
}

// LogValue names the fields as RFC 5740 does.
func (m *Data) LogValue() slog.Value { return Reading{}.Fields(m) }

// LogValue names the fields as RFC 5740 does.
func (m *Info) LogValue() slog.Value { return Reading{}.Fields(m) }

// LogValue names the fields as RFC 5740 does.
func (m *Flush) LogValue() slog.Value { return Reading{}.Fields(m) }

// LogValue names the fields as RFC 5740 does.
func (m *EOT) LogValue() slog.Value { return Reading{}.Fields(m) }

// LogValue names the fields as RFC 5740 does.
func (m *Squelch) LogValue() slog.Value { return Reading{}.Fields(m) }

// LogValue names the fields as RFC 5740 does.
func (m *CC) LogValue() slog.Value { return Reading{}.Fields(m) }

// LogValue names the fields as RFC 5740 does.
func (m *RepairAdv) LogValue() slog.Value { return Reading{}.Fields(m) }

// LogValue names the fields as RFC 5740 does.
func (m *AckReq) LogValue() slog.Value { return Reading{}.Fields(m) }

// LogValue names the fields as RFC 5740 does.
func (m *Application) LogValue() slog.Value { return Reading{}.Fields(m) }

// LogValue names the fields as RFC 5740 does.
func (m *Nack) LogValue() slog.Value { return Reading{}.Fields(m) }

// LogValue names the fields as RFC 5740 does.
func (m *Ack) LogValue() slog.Value { return Reading{}.Fields(m) }

// LogValue names the fields as RFC 5740 does.
func (m *Report) LogValue() slog.Value { return Reading{}.Fields(m) }
