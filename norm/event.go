package norm

import "net/netip"

// An EventKind says what happened; the comment of each names the fields of [Event] that are set beside Kind.
type EventKind uint8

const (
	// SenderSeen: a sender was heard for the first time, or again after SenderLost. Receiver: Sender, Instance.
	SenderSeen EventKind = iota + 1
	// SenderRestarted: the sender's instance_id changed, its state was dropped. Receiver: Sender, Instance (new).
	SenderRestarted
	// SenderLost: nothing was heard from the sender in ROBUST_FACTOR inactivity periods, and not in a minute, in which even
	// an idle one probes. Receiver: Sender, Instance.
	SenderLost
	// SenderEnded: the sender said that it ends (NORM_CMD(EOT)). Receiver: Sender, Instance.
	SenderEnded
	// TooSlow: the way from the sender has borne less than MinRate for 30 s. Feedback says from now on that we are about to
	// leave, which the application should do ([Receiver.Leave], and close). Receiver: Sender, Instance.
	TooSlow
	// ObjectOffered: the first message of a new object arrived and its size and code are known. The application answers
	// with [Receiver.Accept] or [Receiver.Reject] before the next call of Handle; until then nothing of it is asked for.
	// Receiver: Sender, Object; details by [Receiver.Object].
	ObjectOffered
	// ObjectInfo: the NORM_INFO of an accepted object arrived. Receiver: Sender, Object; content by [Receiver.Object].
	ObjectInfo
	// ObjectData: the bytes of Range were written to the sink (each byte is reported once, until it is rejected).
	// Receiver: Sender, Object, Range.
	ObjectData
	// ObjectComplete: every byte of the object was written, and its NORM_INFO (if it has one) arrived.
	// Receiver: Sender, Object.
	ObjectComplete
	// ObjectAborted: the object will not be completed; Err says why ([ErrSquelched], [ErrSenderEnded], [ErrSenderRestarted],
	// [ErrSenderLost], [ErrOverdue], [ErrEvicted], or the error of the sink). Its handle is released. Receiver: Sender, Object, Err.
	ObjectAborted
	// ObjectSent: every symbol of the object was sent once (never of one that is RepairOnly). Sender: Object.
	ObjectSent
	// ObjectPurged: the sender let go of the object to make room, or because it was cancelled, or because reading failed
	// (Err). Repair requests for it are answered by NORM_CMD(SQUELCH) from now on. Sender: Object, Err.
	ObjectPurged
	// Vacancy: an object of the size that [ErrTooManyObjects] refused last would have room now. Sender.
	Vacancy
	// NodeAcknowledged: a node answered a request for acknowledgment ([Sender.SetWatermark], [Sender.RequestAcks]). Sender:
	// Request, Node, Object (of a watermark), Content (what the application of the node answered).
	NodeAcknowledged
	// NodeSilent: a node was asked RobustFactor times, and did not answer. Sender: Request, Node, Object (of a watermark).
	NodeSilent
	// AcksDone: each node of a request has answered or was given up, or Err says why none is asked any more: its object was
	// purged, or the sender ends. Sender: Request, Object (of a watermark), Err.
	AcksDone
	// CommandSent: a command ([Sender.Command]) was sent as often as it was to be. Sender: Content.
	CommandSent
	// AckRequested: a sender asks for an acknowledgment of the application's, to which [Receiver.Acknowledge] gives the
	// answer. Receiver: Sender, Instance, AckType, AckID.
	AckRequested
	// AppCommand: a NORM_CMD(APPLICATION) arrived; each copy of it is told. Receiver: Sender, Instance, Content.
	AppCommand
	// Flushed: the flush series behind the last queued object ended without a repair request in between. Sender.
	Flushed
	// Ended: the series of NORM_CMD(EOT) is sent; the sender is done. Or, with an Err, the sequence numbers of its Auth are
	// used up ([auth.ErrExhausted]). Sender.
	Ended
	// SenderMoved: the sender is heard from another address, From, and its state kept. Unicast feedback goes there from now
	// on. Receiver: Sender, Instance, From.
	SenderMoved
	// SymbolForged: a symbol in the name of a sender was found to be forged, the first from an address. From is that address,
	// which may be the sender's own, if somebody forges that too. Receiver: Sender, Instance, From.
	SymbolForged
	// NodeCollision: another node uses our NormNodeId. Node is that id. Both.
	NodeCollision
	// StreamWritable: there is room again in a stream whose Write took less than it was given. Sender: Object.
	StreamWritable
	// StreamReadable: there is something to read of an accepted stream of which the last [Receiver.ReadStream] had nothing.
	// Receiver: Sender, Object.
	StreamReadable
	// StreamBreak: content of a stream will never come. Reading goes on at the end of Range, whose Length is how many bytes are
	// missing; what was read before is what precedes it. Receiver: Sender, Object, Range.
	StreamBreak
)

// An Event tells the application what happened. Which fields are set depends on Kind.
type Event struct {
	Kind     EventKind
	Sender   NodeID
	Instance InstanceID
	Object   Handle
	Range    Range
	Node     NodeID
	Request  AckRequest
	AckType  uint8  // ack_type, 16 to 255
	AckID    uint8  // ack_id, which tells requests of one type apart
	Content  string // bytes of the application at the other end
	From     netip.AddrPort
	Err      error
}

var eventNames = [...]string{
	SenderSeen: "sender-seen", SenderRestarted: "sender-restarted", SenderLost: "sender-lost", SenderEnded: "sender-ended",
	TooSlow:       "too-slow",
	ObjectOffered: "object-offered", ObjectInfo: "object-info", ObjectData: "object-data", ObjectComplete: "object-complete",
	ObjectAborted: "object-aborted", ObjectSent: "object-sent", ObjectPurged: "object-purged", Vacancy: "vacancy",
	NodeAcknowledged: "node-acknowledged", NodeSilent: "node-silent", AcksDone: "acks-done", CommandSent: "command-sent",
	AckRequested: "ack-requested", AppCommand: "app-command", Flushed: "flushed", Ended: "ended",
	SenderMoved: "sender-moved", SymbolForged: "symbol-forged", NodeCollision: "node-collision",
	StreamWritable: "stream-writable", StreamReadable: "stream-readable", StreamBreak: "stream-break",
}

func (k EventKind) String() string {
	if int(k) < len(eventNames) && eventNames[k] != "" {
		return eventNames[k]
	}
	return "event(?)"
}
