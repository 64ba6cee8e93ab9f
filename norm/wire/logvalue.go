package wire

import "log/slog"

// LogValue names the fields as RFC 5740 does.
func (m *Data) LogValue() slog.Value {
	return slog.GroupValue(append(senderAttrs("NORM_DATA", m.Header, m.SenderHeader),
		slog.String("flags", m.Flags.String()),
		slog.Any("fec_id", m.FECID),
		slog.Uint64("object_transport_id", uint64(m.Object)),
		m.payloadIDAttr(),
		slog.Int("payload", len(m.Payload)))...)
}

// LogValue names the fields as RFC 5740 does.
func (m *Info) LogValue() slog.Value {
	return slog.GroupValue(append(senderAttrs("NORM_INFO", m.Header, m.SenderHeader),
		slog.String("flags", m.Flags.String()),
		slog.Any("fec_id", m.FECID),
		slog.Uint64("object_transport_id", uint64(m.Object)),
		slog.Int("payload", len(m.Payload)))...)
}

// LogValue names the fields as RFC 5740 does.
func (m *Flush) LogValue() slog.Value {
	return slog.GroupValue(append(senderAttrs("NORM_CMD(FLUSH)", m.Header, m.SenderHeader),
		slog.Any("fec_id", m.FECID),
		slog.Uint64("object_transport_id", uint64(m.Object)),
		m.payloadIDAttr(),
		slog.String("acking_node_list", join(m.AckingNodes.All())))...)
}

// LogValue names the fields as RFC 5740 does.
func (m *EOT) LogValue() slog.Value {
	return slog.GroupValue(senderAttrs("NORM_CMD(EOT)", m.Header, m.SenderHeader)...)
}

// LogValue names the fields as RFC 5740 does.
func (m *Squelch) LogValue() slog.Value {
	return slog.GroupValue(append(senderAttrs("NORM_CMD(SQUELCH)", m.Header, m.SenderHeader),
		slog.Any("fec_id", m.FECID),
		slog.Uint64("object_transport_id", uint64(m.Object)),
		m.payloadIDAttr(),
		slog.String("invalid_object_list", join(m.Invalid.All())))...)
}

// LogValue names the fields as RFC 5740 does.
func (m *CC) LogValue() slog.Value {
	attrs := append(senderAttrs("NORM_CMD(CC)", m.Header, m.SenderHeader),
		slog.Uint64("cc_sequence", uint64(m.CCSequence)),
		slog.Uint64("send_time_sec", uint64(m.SendTime.Sec)),
		slog.Uint64("send_time_usec", uint64(m.SendTime.Usec)))
	if code, ok := m.Extensions.Rate(); ok {
		attrs = append(attrs, slog.Float64("send_rate", DecodeRate(code)))
	}
	for n := range m.Nodes.All() {
		attrs = append(attrs, slog.Group("cc_node",
			slog.Uint64("cc_node_id", uint64(n.Node)),
			slog.String("cc_flags", n.Flags.String()),
			slog.Duration("cc_rtt", DecodeRTT(n.RTT)),
			slog.Float64("cc_rate", DecodeRate(n.Rate))))
	}
	return slog.GroupValue(attrs...)
}

// LogValue names the fields as RFC 5740 does.
func (m *RepairAdv) LogValue() slog.Value {
	attrs := append(senderAttrs("NORM_CMD(REPAIR_ADV)", m.Header, m.SenderHeader),
		slog.String("flags", m.Flags.String()))
	attrs = append(attrs, extCCAttrs(m.Extensions)...)
	return slog.GroupValue(append(attrs, requestAttrs("repair_adv_payload", m.Payload))...)
}

// LogValue names the fields as RFC 5740 does.
func (m *AckReq) LogValue() slog.Value {
	return slog.GroupValue(append(senderAttrs("NORM_CMD(ACK_REQ)", m.Header, m.SenderHeader),
		slog.Any("ack_type", m.AckType),
		slog.Uint64("ack_id", uint64(m.AckID)),
		slog.String("acking_node_list", join(m.AckingNodes.All())))...)
}

// LogValue names the fields as RFC 5740 does.
func (m *Application) LogValue() slog.Value {
	return slog.GroupValue(append(senderAttrs("NORM_CMD(APPLICATION)", m.Header, m.SenderHeader),
		slog.Int("payload", len(m.Payload)))...)
}

// LogValue names the fields as RFC 5740 does.
func (m *Nack) LogValue() slog.Value {
	attrs := feedbackAttrs("NORM_NACK", m.Header, m.FeedbackHeader)
	attrs = append(attrs, extCCAttrs(m.Extensions)...)
	return slog.GroupValue(append(attrs, requestAttrs("nack_payload", m.Payload))...)
}

// LogValue names the fields as RFC 5740 does.
func (m *Ack) LogValue() slog.Value {
	attrs := append(feedbackAttrs("NORM_ACK", m.Header, m.FeedbackHeader),
		slog.Any("ack_type", m.AckType),
		slog.Uint64("ack_id", uint64(m.AckID)))
	attrs = append(attrs, extCCAttrs(m.Extensions)...)
	if p, ok := m.Watermark(); ok {
		return slog.GroupValue(append(attrs,
			slog.Any("fec_id", p.FECID),
			slog.Uint64("object_transport_id", uint64(p.Object)),
			p.payloadIDAttr())...)
	}
	return slog.GroupValue(append(attrs, slog.Int("payload", len(m.Payload)))...)
}

// LogValue names the fields as RFC 5740 does.
func (m *Report) LogValue() slog.Value {
	return slog.GroupValue(append(headerAttrs("NORM_REPORT", m.Header), slog.Int("content", len(m.Content)))...)
}

func headerAttrs(name string, h Header) []slog.Attr {
	return []slog.Attr{
		slog.String("type", name),
		slog.Uint64("sequence", uint64(h.Sequence)),
		slog.Uint64("source_id", uint64(h.Source)),
	}
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

func (p Position) payloadIDAttr() slog.Attr {
	id := p.PayloadID(DefaultM)
	attrs := []any{slog.Uint64("source_block_number", uint64(id.Block))}
	if p.FECID == SmallBlock {
		attrs = append(attrs, slog.Uint64("source_block_len", uint64(id.BlockLen)))
	}
	return slog.Group("fec_payload_id", append(attrs, slog.Uint64("encoding_symbol_id", uint64(id.Symbol)))...)
}

func extCCAttrs(e Extensions) []slog.Attr {
	x, ok := e.CC()
	if !ok {
		return nil
	}
	return []slog.Attr{slog.Group("ext_cc",
		slog.Uint64("cc_sequence", uint64(x.Sequence)),
		slog.String("cc_flags", x.Flags.String()),
		slog.Duration("cc_rtt", DecodeRTT(x.RTT)),
		slog.Float64("cc_loss", DecodeLoss(x.Loss)),
		slog.Float64("cc_rate", DecodeRate(x.Rate)))}
}

func requestAttrs(name string, payload []byte) slog.Attr {
	s := describeRequests(payload)
	if s != "" {
		s = s[1:]
	}
	return slog.String(name, s)
}
