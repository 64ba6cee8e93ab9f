package wire

import (
	"encoding/hex"
	"log/slog"
	"strings"
)

// noFEC stands for the fec_id of messages that have none: an EXT_FTI in them cannot be read.
const noFEC FECID = 255

// extAttrs is the list of header extensions, or nothing if there are none.
func extAttrs(e Extensions, id FECID) []slog.Attr {
	if len(e) == 0 {
		return nil
	}
	return []slog.Attr{slog.Any("header_extensions", extensions{e, id})}
}

// extensions render header extensions, which are read as an object of fec_id id has them.
type extensions struct {
	e  Extensions
	id FECID
}

// String returns, for example, "EXT_RATE{send_rate=8000}".
func (x extensions) String() string {
	var b strings.Builder
	for het, ext := range x.e.All() {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(het.String())
		b.Write(AppendText(nil, slog.GroupValue(x.attrs(het, ext)...)))
	}
	return b.String()
}

// MarshalJSON returns an array with an object for each extension: its name, het, hel and fields.
func (x extensions) MarshalJSON() ([]byte, error) {
	var all list
	for het, ext := range x.e.All() {
		head := []slog.Attr{slog.String("name", het.String()), slog.Uint64("het", uint64(het))}
		if het < fixedExt {
			head = append(head, slog.Uint64("hel", uint64(ext[1])))
		}
		all = append(all, slog.GroupValue(append(head, x.attrs(het, ext)...)...))
	}
	return all.MarshalJSON()
}

// attrs are the fields of one extension; of one that cannot be read, its content behind het and hel.
func (x extensions) attrs(het ExtType, ext []byte) []slog.Attr {
	one := Extensions(ext)
	switch het {
	case TypeExtCC:
		if cc, ok := one.CC(); ok {
			return []slog.Attr{
				slog.Uint64("cc_sequence", uint64(cc.Sequence)),
				slog.String("cc_flags", cc.Flags.String()),
				slog.Duration("cc_rtt", DecodeRTT(cc.RTT)),
				slog.Float64("cc_loss", DecodeLoss(cc.Loss)),
				slog.Float64("cc_rate", DecodeRate(cc.Rate)),
			}
		}
	case TypeExtRate:
		if code, ok := one.Rate(); ok {
			return []slog.Attr{slog.Float64("send_rate", DecodeRate(code))}
		}
	case TypeExtRepair:
		return nil
	case TypeExtFTI:
		if f, ok := one.FTI(x.id); ok {
			return f.attrs(x.id)
		}
	case TypeExtAuth:
		if a, ok := ParseAuth(ext); ok {
			return a.attrs()
		}
	}
	return []slog.Attr{slog.String("content", hex.EncodeToString(ext[2:]))}
}

func (x ExtAuth) attrs() []slog.Attr {
	attrs := []slog.Attr{slog.Uint64("asid", uint64(x.ASID))}
	if x.AntiReplay {
		attrs = append(attrs, slog.Uint64("sequence", x.Sequence))
	}
	return append(attrs, slog.String("tag", hex.EncodeToString(x.Tag)))
}

// attrs are the fields that an object of fec_id id has in its FTI.
func (f FTI) attrs(id FECID) []slog.Attr {
	attrs := append(make([]slog.Attr, 0, 8), slog.Uint64("object_size", f.ObjectSize))
	switch id {
	case RS:
		attrs = append(attrs, slog.Uint64("m", uint64(f.M)), slog.Uint64("g", uint64(f.G)))
	case LargeBlock, SmallBlock, Compact:
		attrs = append(attrs, slog.Uint64("fec_instance_id", uint64(f.Instance)))
	}
	attrs = append(attrs,
		slog.Uint64("segment_size", uint64(f.SegmentSize)),
		slog.Uint64("fec_max_block_len", uint64(f.MaxBlockLen)))
	switch id {
	case RS, RS8:
		return append(attrs, f.parityAttrs(id)...)
	case SmallBlock:
		return append(attrs, slog.Uint64("fec_num_parity", uint64(f.NumParity)))
	}
	return attrs
}

// parityAttrs are max_n of fec_ids 2 and 5, and how many parity symbols it means in either of its readings: source and
// parity symbols together, as RFC 5510 has it, or parity alone, as the NRL implementation writes it. A reading that the
// values rule out is left out: max_n is never below B, and a block has no more symbols than the code, 2^m-1.
func (f FTI) parityAttrs(id FECID) []slog.Attr {
	attrs := []slog.Attr{slog.Uint64("max_n", uint64(f.MaxN))}
	m := uint8(8)
	if id == RS {
		m = min(f.M, 16)
	}
	if uint32(f.MaxN) >= f.MaxBlockLen {
		attrs = append(attrs, slog.Uint64("parity_if_max_n", uint64(uint32(f.MaxN)-f.MaxBlockLen)))
	}
	if f.MaxBlockLen+uint32(f.MaxN) < 1<<m {
		attrs = append(attrs, slog.Uint64("parity_if_count", uint64(f.MaxN)))
	}
	return attrs
}
