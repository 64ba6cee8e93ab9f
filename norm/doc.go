// Package norm is the NORM protocol (NACK-Oriented Reliable Multicast, RFC 5740) as two values without
// sockets, goroutines or clocks: a [Sender] and a [Receiver].
//
// # Calling contract
//
// Both are driven by the same verbs, and whoever calls them (the loop of package norm/session, the simulator of
// norm/normtest, the main loop of a firmware) supplies time, datagrams and storage:
//
//	Handle(now, Datagram)       a datagram arrived
//	Complete(now, *IO)          a read or write asked for by Requests is done
//	Advance(now)                time passed
//	Requests() iter.Seq[*IO]    drain: reads and writes of object bytes to perform
//	Poll(now, b)                drain: appends one datagram to send to b; ok is false when none may be sent now
//	Events() iter.Seq[Event]    drain: what the application should know
//	Deadline() time.Time        when to call Advance at the latest; zero if nothing is scheduled
//
// After each Handle, Complete, Advance or call of another method, drain Requests, Poll and Events, then wait for
// a datagram, a completion or the Deadline. Methods must not be called concurrently, and time must not go back.
//
// # Storage
//
// The core never touches a file. It asks for bytes of an object by an [IO], which it owns together with its buffer
// until the driver hands it back by Complete; the driver may perform several at once and complete them in any order.
// The content of streams is the exception: it is written to and read from the core's own memory ([Sender.Write],
// [Receiver.ReadStream]), which [StreamConfig].Buffer and [ReceiverConfig].StreamBuffer bound.
//
// # Acknowledgment and flow control
//
// NORM is reliable by what receivers ask for, and tells a sender nothing of those that ask for nothing. [Sender.SetWatermark]
// asks known nodes whether they have everything up to an object, [Sender.RequestAcks] for whatever the application means by
// a type of its own, [Sender.Command] tells something without an answer. An object stays until a NACK for it cannot be on its
// way any more ([SenderConfig].FlowControl) and those asked have acknowledged it, so Enqueue may have to wait for Vacancy.
//
// # Glossary
//
// The RFC's name, and ours: NormNodeId [NodeID]; instance_id [InstanceID]; NormTransportId, object_transport_id
// [TransportID]; GRTT_sender [SenderConfig].GRTT; K_sender BackoffFactor; GSIZE_sender GroupSize; NormSegmentSize
// SegmentSize; NORM_ROBUST_FACTOR RobustFactor; source_block_number Block; encoding_symbol_id Symbol; NORM_CMD(X)
// a message type of package norm/wire.
package norm
