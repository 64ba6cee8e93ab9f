package wire

import (
	"encoding/binary"
	"time"
)

// A Timestamp is a time on the sender's clock as NORM_CMD(CC) carries it in send_time and feedback
// returns it in grtt_response: seconds of any epoch the sender likes, modulo 2^32, and microseconds.
// The zero Timestamp means that there is none.
type Timestamp struct {
	Sec  uint32
	Usec uint32 // below 1,000,000
}

// MakeTimestamp returns t in seconds since 1970 modulo 2^32, rounded down to microseconds.
func MakeTimestamp(t time.Time) Timestamp { return timestamp(t.UnixMicro()) }

func timestamp(usec int64) Timestamp {
	sec, rest := usec/1e6, usec%1e6
	if rest < 0 {
		sec, rest = sec-1, rest+1e6
	}
	return Timestamp{Sec: uint32(sec), Usec: uint32(rest)}
}

// IsZero reports whether there is no time: "The receiver SHALL set the "grtt_response" to a ZERO
// value, to indicate it has not yet received a NORM_CMD(CC) message", RFC 5740, Section 4.3.1.
func (t Timestamp) IsZero() bool { return t == Timestamp{} }

// Add returns t+d, rounded down to microseconds.
func (t Timestamp) Add(d time.Duration) Timestamp { return timestamp(t.micros() + d.Microseconds()) }

// Sub returns t-u, taking the shorter way around the 2^32 seconds: at most 68 years either way.
func (t Timestamp) Sub(u Timestamp) time.Duration {
	sec := int32(t.Sec - u.Sec)
	usec := int64(t.Usec) - int64(u.Usec)
	return time.Duration(sec)*time.Second + time.Duration(usec)*time.Microsecond
}

func (t Timestamp) micros() int64 { return int64(t.Sec)*1e6 + int64(t.Usec) }

func (t Timestamp) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, t.Sec)
	return binary.BigEndian.AppendUint32(b, t.Usec)
}

func parseTimestamp(b []byte) Timestamp {
	return Timestamp{Sec: binary.BigEndian.Uint32(b), Usec: binary.BigEndian.Uint32(b[4:])}
}
