package wire

// ErrorOffset returns where in a datagram the field stands for which Parse gave err: the hdr_len that does not fit, the
// extension that ends after the header, the repair request that is cut off. It is for people who read traces; a protocol
// only counts.
func ErrorOffset(b []byte, err error) int {
	switch err {
	case ErrNode:
		return 4
	case ErrCmdType:
		return 12
	case ErrAckType:
		return 14
	case ErrFECID:
		if Type(b[0]&0x0f) == TypeAck {
			return 4 * int(b[1]) // of the watermark
		}
		return 13
	case ErrExtension:
		end := 4 * int(b[1])
		at := extensionsStart(b)
		for at < end {
			n := extSize(b[at:end])
			if n == 0 {
				break
			}
			at += n
		}
		return at
	case ErrLength:
		return lengthOffset(b)
	}
	return 0 // ErrVersion, ErrType
}

// extensionsStart returns where the header extensions of a message begin, whose base header Parse has found whole.
func extensionsStart(b []byte) int {
	switch t := Type(b[0] & 0x0f); t {
	case TypeData:
		return 16 + FECID(b[13]).PayloadIDSize()
	case TypeCmd:
		switch CmdType(b[12]) {
		case CmdFlush, CmdSquelch:
			return 16 + FECID(b[13]).PayloadIDSize()
		case CmdCC:
			return 24
		}
		return 16
	case TypeInfo:
		return 16
	}
	return 24 // NORM_NACK, NORM_ACK
}

// lengthOffset tells the three reasons of ErrLength apart: no whole common header, an hdr_len that cannot be, a payload
// that is cut off.
func lengthOffset(b []byte) int {
	if len(b) < headerSize {
		return len(b)
	}
	n := 4 * int(b[1])
	if n > len(b) || n < 4*Type(b[0]&0x0f).minWords() || n < extensionsStart(b) {
		return 1
	}
	at := n
	if Type(b[0]&0x0f) == TypeAck {
		return at
	}
	for {
		_, rest, ok := cutRequest(b[at:])
		if !ok {
			return at
		}
		at = len(b) - len(rest)
	}
}
