package wire

// PeekExtensions returns the header extensions of a datagram of any message of which the length of the base header is
// known, and the offset at which they begin, without looking at the rest. A NORM_REPORT has none, as its format is
// undefined. The error is that of [Peek], ErrFECID, ErrCmdType, ErrLength or ErrExtension.
func PeekExtensions(b []byte) (ext Extensions, offset int, err error) {
	h, err := Peek(b)
	if err != nil {
		return nil, 0, err
	}
	end := 4 * int(b[1])
	switch h.Type {
	case TypeData:
		offset, err = positionEnd(b)
	case TypeCmd:
		switch CmdType(b[12]) {
		case CmdFlush, CmdSquelch:
			offset, err = positionEnd(b)
		case CmdCC:
			offset = 24
		case CmdEOT, CmdRepairAdv, CmdAckReq, CmdApplication:
			offset = 16
		default:
			err = ErrCmdType
		}
	case TypeReport:
		offset = end
	default:
		offset = 4 * h.Type.minWords()
	}
	switch {
	case err != nil:
		return nil, 0, err
	case offset > end:
		return nil, 0, ErrLength
	}
	ext, err = parseExtensions(b[offset:end:end])
	return ext, offset, err
}

// positionEnd returns where the fec_payload_id of a message ends that has fec_id in byte 13.
func positionEnd(b []byte) (int, error) {
	n := FECID(b[13]).PayloadIDSize()
	if n == 0 {
		return 0, ErrFECID
	}
	return 16 + n, nil
}

// InsertRoom makes room for an extension in an encoded message that was appended behind as many free bytes: b is the
// room, a multiple of 4 bytes, and then the message. It moves the header to the front, which is less to copy than the
// payload would be, counts the room in hdr_len, and returns where the room is now, behind all other extensions. The
// error is ErrHeaderSize if the header would be longer than 255 words.
func InsertRoom(b []byte, room int) (offset int, err error) {
	header := 4 * int(b[room+1])
	if header+room > 4*255 {
		return 0, ErrHeaderSize
	}
	copy(b, b[room:room+header])
	b[1] += uint8(room / 4)
	return header, nil
}
