package norm

import "time"

// Drops counts datagrams and messages that were ignored, by reason. A stranger may cost us a counter, never memory.
type Drops struct {
	Malformed uint64 // not a NORM message of version 1, or a length that does not fit
	Foreign   uint64 // another sender, another instance, another address, or our own echo
	Useless   uint64 // of a type or code we do not use, or naming content that cannot exist
	Refused   uint64 // announced something beyond our limits
}

// SenderStats are the counters of a [Sender] since its start.
type SenderStats struct {
	Datagrams, Bytes uint64 // everything sent; Bytes is UDP payload
	Data             uint64 // NORM_DATA of new source symbols
	Parity           uint64 // NORM_DATA of proactive parity
	Repairs          uint64 // NORM_DATA with NORM_FLAG_REPAIR
	Explicit         uint64 // those of them with NORM_FLAG_EXPLICIT
	Infos            uint64
	Flushes          uint64
	Squelches        uint64
	Probes           uint64 // NORM_CMD(CC)
	NacksHeard       uint64
	NacksIgnored     uint64 // arrived in the hold-off for content behind the transmit position
	RepairCycles     uint64 // aggregation periods that ended in repairs
	Acks             uint64 // NORM_ACK(CC) heard
	GRTT             time.Duration
	Rate             float64 // bits per second
	Drops            Drops
}

// ReceiverStats are the counters of a [Receiver] since its start.
type ReceiverStats struct {
	Datagrams, Bytes uint64 // everything handled; Bytes is UDP payload
	Data             uint64 // NORM_DATA that was new to us
	Duplicates       uint64 // NORM_DATA that was not
	Repairs          uint64 // NORM_DATA with NORM_FLAG_REPAIR
	Decoded          uint64 // source symbols rebuilt from parity
	Lost             uint64 // gaps in the senders' sequence numbers
	NacksSent        uint64
	NacksSuppressed  uint64 // NACK cycles that ended without a NACK because others had asked
	NacksHeard       uint64
	AcksSent         uint64
	Spilled          uint64 // blocks written out incomplete because Buffer was full
	NoBuffer         uint64 // symbols that found no buffer and count as not received
	Drops            Drops
}
