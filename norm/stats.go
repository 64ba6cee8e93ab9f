package norm

import (
	"time"

	"github.com/multicast-upgrade/tool/norm/auth"
)

// Drops counts datagrams and messages that were ignored, by reason. A stranger may cost us a counter, never memory.
type Drops struct {
	Malformed   uint64 `json:"malformed"`   // not a NORM message of version 1, or a length that does not fit
	Foreign     uint64 `json:"foreign"`     // another sender, another instance, another address, or our own echo
	Useless     uint64 `json:"useless"`     // of a type or code we do not use, or naming content that cannot exist
	Refused     uint64 `json:"refused"`     // announced something beyond our limits, or came from an address beyond its own
	Unauthentic uint64 `json:"unauthentic"` // without EXT_AUTH where the session has it, forged, or replayed
	Disbelieved uint64 `json:"disbelieved"` // in the name of a sender, but nothing speaks for it (EvidencePolicy)
}

// notAuthentic counts a packet that Verify did not accept.
func (d *Drops) notAuthentic(err error) {
	if err == auth.ErrEcho {
		d.Foreign++
		return
	}
	d.Unauthentic++
}

// Traffic is what was sent.
type Traffic struct {
	Datagrams uint64 `json:"datagrams"`
	Bytes     uint64 `json:"bytes"` // their UDP payload
}

// SenderStats are the counters of a [Sender] since its start. In JSON a duration is in nanoseconds.
type SenderStats struct {
	Datagrams    uint64        `json:"datagrams"` // everything sent
	Bytes        uint64        `json:"bytes"`     // their UDP payload
	Data         uint64        `json:"data"`      // NORM_DATA of new source symbols
	Parity       uint64        `json:"parity"`    // NORM_DATA of proactive parity
	Repairs      uint64        `json:"repairs"`   // NORM_DATA with NORM_FLAG_REPAIR
	Explicit     uint64        `json:"explicit"`  // those of them with NORM_FLAG_EXPLICIT
	Elsewhere    Traffic       `json:"elsewhere"` // what of all went to the repair group
	Infos        uint64        `json:"infos"`
	Flushes      uint64        `json:"flushes"`
	Squelches    uint64        `json:"squelches"`
	Probes       uint64        `json:"probes"` // NORM_CMD(CC)
	NacksHeard   uint64        `json:"nacks_heard"`
	NacksIgnored uint64        `json:"nacks_ignored"` // arrived in the hold-off for content behind the transmit position
	NacksRefused uint64        `json:"nacks_refused"` // of nodes or addresses that asked for more than their share (ServicePolicy)
	RepairCycles uint64        `json:"repair_cycles"` // aggregation periods that ended in repairs
	Acks         uint64        `json:"acks"`          // NORM_ACK heard that were of use
	AckRequests  uint64        `json:"ack_requests"`  // NORM_CMD(FLUSH) and NORM_CMD(ACK_REQ) with an acking_node_list
	AcksMissed   uint64        `json:"acks_missed"`   // nodes that did not answer
	Commands     uint64        `json:"commands"`      // NORM_CMD(APPLICATION)
	Reports      uint64        `json:"reports"`       // NORM_REPORT heard
	Unasked      int           `json:"unasked"`       // parity symbols sent behind each block at present
	GRTT         time.Duration `json:"grtt_ns"`
	Rate         float64       `json:"rate"`          // bits per second
	LargestBurst uint64        `json:"largest_burst"` // most datagrams that left at one time

	// Of congestion control: the current limiting receiver (0: none is known, or the rate is fixed), the round trip time to
	// it and the loss event fraction it reports.
	CLR       NodeID        `json:"clr"`
	Expelled  uint64        `json:"expelled"` // receivers that were not waited for any longer (RateControl.Patience)
	RTT       time.Duration `json:"rtt_ns"`
	Loss      float64       `json:"loss"`
	SlowStart bool          `json:"slow_start"`

	Drops Drops `json:"drops"`
}

// ReceiverStats are the counters of a [Receiver] since its start.
type ReceiverStats struct {
	Datagrams       uint64 `json:"datagrams"`  // everything handled
	Bytes           uint64 `json:"bytes"`      // their UDP payload
	Data            uint64 `json:"data"`       // NORM_DATA that was new to us
	Duplicates      uint64 `json:"duplicates"` // NORM_DATA that was not
	Repairs         uint64 `json:"repairs"`    // NORM_DATA with NORM_FLAG_REPAIR
	Decoded         uint64 `json:"decoded"`    // source symbols rebuilt from parity
	Lost            uint64 `json:"lost"`       // gaps in the senders' sequence numbers
	Marked          uint64 `json:"marked"`     // datagrams of senders with the ECN codepoint CE (RFC 3168)
	Elsewhere       uint64 `json:"elsewhere"`  // datagrams that came by the repair group
	RepairJoins     uint64 `json:"repair_joins"`
	NacksSent       uint64 `json:"nacks_sent"`
	NacksSuppressed uint64 `json:"nacks_suppressed"` // NACK cycles that ended without a NACK because others had asked
	NacksHeard      uint64 `json:"nacks_heard"`
	AcksSent        uint64 `json:"acks_sent"`
	Reports         uint64 `json:"reports"`   // NORM_REPORT heard
	Spilled         uint64 `json:"spilled"`   // blocks written out incomplete because Buffer was full
	NoBuffer        uint64 `json:"no_buffer"` // symbols that found no buffer and count as not received
	Drops           Drops  `json:"drops"`
}

// ForgeryStats are the counters of a [Receiver] that looks for forged symbols, since its start.
type ForgeryStats struct {
	Forged    uint64 `json:"forged"`    // symbols found to be, on arrival or in their block; [Receiver.Liars] has the addresses
	Refused   uint64 `json:"refused"`   // those of them that [ReceiverConfig].Check refused on arrival
	Suspected uint64 `json:"suspected"` // blocks found to be wrong, and kept
	Located   uint64 `json:"located"`   // those of them whose wrong symbols, if any, were found by parity
	Forsaken  uint64 `json:"forsaken"`  // those of which nobody could tell, so that all was asked for again
	Ignored   uint64 `json:"ignored"`   // datagrams from addresses that nothing but forged symbols came from
}

// Forgeries returns the counters of forged symbols, zero unless [ReceiverConfig] has Locate or Check.
func (r *Receiver) Forgeries() ForgeryStats {
	if r.vigil == nil {
		return ForgeryStats{}
	}
	return r.vigil.stats
}
