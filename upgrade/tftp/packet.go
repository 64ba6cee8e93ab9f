package tftp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
)

// Opcodes (RFC 1350, Section 5; RFC 2347).
const (
	opRead  = 1
	opWrite = 2
	opData  = 3
	opAck   = 4
	opError = 5
	opOAck  = 6
)

// Error codes (RFC 1350, Appendix; RFC 2347).
const (
	codeNotFound = 1
	codeAccess   = 2
	codeIllegal  = 4
	codeOption   = 8
)

const (
	// maxRequest: "The maximum size of a request packet is 512 octets." RFC 2347.
	maxRequest = 512

	defaultBlock = 512
	minBlock     = 8    // RFC 2348
	maxBlock     = 1428 // what is left of 1500 bytes with IPv6 and room for a tunnel; a client that asks for more gets this
	maxTimeout   = 10   // seconds; RFC 2349 has up to 255
)

// A request is a read request: octet is the only mode.
type request struct {
	name    string
	block   int  // bytes of a block
	timeout int  // seconds until a packet is sent again; 0: not asked for
	size    bool // whether the client wants to know the size
	options bool // whether there was one that is known, so that the answer is an OACK
}

// A refusal is why a request is not served, as the client is told.
type refusal struct {
	code uint16
	text string
}

func (r *refusal) Error() string { return r.text }

// errMalformed is a packet that gets no answer.
var errMalformed = errors.New("tftp: malformed")

// parseRequest parses what came to the server's port. The error is a *refusal if it is to be answered.
//
//	2 bytes    string   1 byte   string  1 byte   string  1 byte   string  1 byte
//	opcode  |  filename |   0  |  mode   |   0  |  opt1   |   0  | value1  |   0  | ...
func parseRequest(b []byte) (r request, err error) {
	if len(b) < 2 || len(b) > maxRequest || b[len(b)-1] != 0 {
		return r, errMalformed
	}
	op := binary.BigEndian.Uint16(b)
	if op != opRead && op != opWrite {
		return r, errMalformed
	}
	fields := bytes.Split(b[2:len(b)-1], []byte{0})
	if len(fields) < 2 || len(fields)%2 != 0 {
		return r, errMalformed
	}
	if op == opWrite {
		return r, &refusal{codeAccess, "read only"}
	}
	r.name, r.block = string(fields[0]), defaultBlock
	if mode := string(fields[1]); !strings.EqualFold(mode, "octet") {
		return r, &refusal{codeIllegal, "octet mode only"}
	}
	return r, r.parseOptions(fields[2:])
}

// parseOptions takes options and their values. One that is unknown, or has a value that cannot be met, is not acknowledged.
func (r *request) parseOptions(fields [][]byte) error {
	seen := map[string]bool{}
	for i := 0; i < len(fields); i += 2 {
		option := strings.ToLower(string(fields[i])) // "case in-sensitive ASCII"
		if seen[option] {
			return &refusal{codeOption, "an option is given twice"} // "An option may only be specified once"
		}
		seen[option] = true
		value, err := strconv.ParseUint(string(fields[i+1]), 10, 31)
		if err != nil {
			continue
		}
		switch n := int(value); option {
		case "blksize":
			if n < minBlock {
				continue
			}
			r.block = min(n, maxBlock) // "a value less than or equal to the requested one"
		case "timeout":
			if n < 1 || n > maxTimeout {
				continue
			}
			r.timeout = n
		case "tsize":
			r.size = true
		default:
			continue
		}
		r.options = true
	}
	return nil
}

// appendOAck appends the acknowledgment of a request's options.
func (r *request) appendOAck(b []byte, size int64) []byte {
	add := func(option string, value int64) {
		b = append(append(b, option...), 0)
		b = append(strconv.AppendInt(b, value, 10), 0)
	}
	b = binary.BigEndian.AppendUint16(b, opOAck)
	if r.block != defaultBlock {
		add("blksize", int64(r.block))
	}
	if r.timeout > 0 {
		add("timeout", int64(r.timeout))
	}
	if r.size {
		add("tsize", size)
	}
	return b
}

func appendError(b []byte, r *refusal) []byte {
	b = binary.BigEndian.AppendUint16(b, opError)
	b = binary.BigEndian.AppendUint16(b, r.code)
	return append(append(b, r.text...), 0)
}

// parseAck returns the block that a packet acknowledges; ok is false if it is no ACK.
func parseAck(b []byte) (block uint16, ok bool) {
	if len(b) < 4 || binary.BigEndian.Uint16(b) != opAck {
		return 0, false
	}
	return binary.BigEndian.Uint16(b[2:]), true
}

func isError(b []byte) bool { return len(b) >= 4 && binary.BigEndian.Uint16(b) == opError }
