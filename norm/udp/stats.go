package udp

import "sync/atomic"

// Stats counts what a Conn has done since it was opened.
type Stats struct {
	Received Traffic `json:"received"` // datagrams given to ReadBatch's caller
	Sent     Traffic `json:"sent"`
	Dropped  Dropped `json:"dropped"`
	Failed   uint64  `json:"failed"` // calls of WriteBatch that ended with an error

	ReadBuffer  Buffer `json:"read_buffer"`  // the kernel's queue of the socket that hears the group
	WriteBuffer Buffer `json:"write_buffer"` // the kernel's queue of the socket that sends

	GSO bool `json:"gso"` // datagrams of one size are sent as one (UDP_SEGMENT)
	GRO bool `json:"gro"` // and received as one (UDP_GRO)
}

// Traffic counts datagrams in one direction. Calls is below Datagrams where
// batches pay.
type Traffic struct {
	Datagrams uint64 `json:"datagrams"`
	Bytes     uint64 `json:"bytes"`
	Calls     uint64 `json:"calls"` // system calls
}

// Dropped counts datagrams that arrived and were not delivered, by reason.
type Dropped struct {
	Destination uint64 `json:"destination"` // sent to another group, or on another interface
	Source      uint64 `json:"source"`      // sent to a source-specific group by another host
	Truncated   uint64 `json:"truncated"`   // longer than a datagram can be
	Overflow    uint64 `json:"overflow"`    // the kernel's queue was full (Linux only; not of what a Sender hears on the group)
}

// A Buffer is the size of a kernel queue in bytes. What is granted below what
// was asked for is a limit of the system: net.core.rmem_max and wmem_max on
// Linux.
type Buffer struct {
	Asked   int `json:"asked"`
	Granted int `json:"granted"`
}

// counters are Stats as they are counted: by the reader, the writer and a
// merge's goroutines at once.
type counters struct {
	received, sent traffic

	destination, source, truncated, overflow, failed atomic.Uint64
}

type traffic struct{ datagrams, bytes, calls atomic.Uint64 }

// add counts datagrams and bytes at the end of a batch.
func (t *traffic) add(datagrams, bytes int) {
	t.datagrams.Add(uint64(datagrams))
	t.bytes.Add(uint64(bytes))
}

func (t *traffic) snapshot() Traffic {
	return Traffic{Datagrams: t.datagrams.Load(), Bytes: t.bytes.Load(), Calls: t.calls.Load()}
}

// Stats returns the counters. They are not of one instant while datagrams move.
func (c *Conn) Stats() Stats {
	n := &c.stats
	hears := c.out
	if c.merge != nil {
		hears = c.merge.sockets[1]
	}
	return Stats{
		Received: n.received.snapshot(),
		Sent:     n.sent.snapshot(),
		Dropped: Dropped{
			Destination: n.destination.Load(),
			Source:      n.source.Load(),
			Truncated:   n.truncated.Load(),
			Overflow:    n.overflow.Load(),
		},
		Failed:      n.failed.Load(),
		ReadBuffer:  Buffer{Asked: c.config.ReadBuffer, Granted: hears.readBuffer},
		WriteBuffer: Buffer{Asked: c.config.WriteBuffer, Granted: c.out.writeBuffer},
		GSO:         c.out.gso(),
		GRO:         hears.gro(),
	}
}
