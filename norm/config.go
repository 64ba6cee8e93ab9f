package norm

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/norm/auth"
	"github.com/multicast-upgrade/tool/norm/fec"
)

// SenderConfig holds what a [Sender] may be told. Node and Group must be set; every other field is right at zero.
type SenderConfig struct {
	Node     NodeID         // our NormNodeId, unique in the session; neither 0 nor 0xffffffff
	Instance InstanceID     // instance_id; choose another one at each start (RFC 5740, Section 7). Zero is a value like others
	Group    netip.AddrPort // where to send: a multicast group, or one receiver

	// RepairGroup, unless zero, is a second multicast group, which repairs go to that were asked for by receivers which hear
	// it ([ReceiverConfig].RepairGroup). Others get theirs in Group.
	RepairGroup netip.AddrPort

	// FEC is the code for all objects. If its ID and MaxBlockLen are zero: [fec.Default], 128 source and 127 parity symbols in
	// a block. SegmentSize is filled in from the field below.
	FEC fec.Params
	// SegmentSize is NormSegmentSize, the bytes of object content in one NORM_DATA. If zero, 1400, less what Auth adds.
	SegmentSize int
	// FTI says which messages carry the EXT_FTI of their object.
	FTI FTIPolicy
	// AutoParity is the number of parity symbols sent behind each block unasked (RFC 5740, Section 2.1). If zero, as many as
	// nearly every block of late turned out to need, at most half as many as source symbols; none in a group without loss, and
	// none beside a RepairGroup, as receivers on clean links would have to hear it. If negative, none.
	AutoParity int
	// RepeatInfo sends the NORM_INFO of an object again ahead of each of its blocks, for receivers that cannot ask for it.
	RepeatInfo bool

	// Rate limits everything sent, in bits per second of UDP payload. If zero, 10 Mbit/s.
	Rate float64
	// Control, unless nil, lets NORM-CC control the rate (RFC 5740, Section 5.5.2), as it must in the general Internet;
	// Rate is then to be zero.
	Control *RateControl
	// Burst is how many bytes may leave at once after a pause. If zero, what Rate gives in 2 ms, at least a datagram.
	Burst int

	// GRTT is the first estimate of the group's greatest round trip time. If zero, 0.5 s (RFC 5740, Section 6).
	GRTT time.Duration
	// MinGRTT and MaxGRTT bound what measurement may make of it. If zero, 1 ms and 10 s (RFC 5401, Section 3.7.4).
	MinGRTT, MaxGRTT time.Duration
	// ProbeInterval is the time between NORM_CMD(CC). If zero, the current GRTT, at least 100 ms, doubling up to 30 s while
	// nothing is to be sent or nobody answers (RFC 5740, Section 5.5.2.1).
	ProbeInterval time.Duration
	// BackoffFactor is K_sender, 0 to 15. If zero, 4 for a multicast group, 6 for a source-specific one (RFC 4607:
	// 232.0.0.0/8 and ff3x::/32) and none for a unicast session; if negative, none (RFC 5740, Sections 5.3 and 5.4.1). 1 is
	// refused for a multicast group: nothing would be suppressed.
	BackoffFactor int
	// GroupSize is the estimated number of receivers. If zero, 10,000 (RFC 5740, Section 5.5.4). One order of magnitude
	// is good enough.
	GroupSize int
	// RobustFactor is NORM_ROBUST_FACTOR, how often commands are repeated. If zero, 20. All nodes should have the same.
	RobustFactor int

	// Service bounds what receivers may cost.
	Service ServicePolicy

	// FirstObject is the NormTransportId of the first object.
	FirstObject TransportID
	// MaxObjects is how many objects are held for repair; beyond it the oldest that is sent and not pinned is purged.
	// If zero, 256. At most 32,767, half of the number space.
	MaxObjects int
	// MaxBytes is how many bytes of objects are held for repair, counted alike. If zero, no limit: the bytes are not
	// in our memory.
	MaxBytes int64
	// FlowControl holds what was sent or asked for until FlowControl*(K_sender+1)*GRTT_sender later, at least 20 ms, before
	// it is purged: the time in which a NACK for it may come. That is (2*K_sender+3)*GRTT_sender of a receiver that is in the
	// hold-off of its last one, and as much again if that one or its repair is lost. If zero, 5, which is enough for both where
	// K_sender is 4 (NRL's implementation has 2, by which a stream in a group that loses 5 % now and then breaks); if negative,
	// what is sent may be purged at once. Acknowledgments that are asked for ([Sender.SetWatermark]) hold objects in either case.
	FlowControl float64

	// Track says which nodes are asked for acknowledgments where the application names none. If zero, none are.
	Track TrackPolicy
	// MaxTracked is how many of them are known; beyond it the one longest silent gives way. If zero, 1024.
	MaxTracked int

	// Buffer is the memory for blocks being read and coded, in bytes: room for at least two blocks. If zero, 8 MiB.
	Buffer int

	// Auth, unless nil, authenticates all packets (RFC 6584): ours are sealed, feedback that is not authentic is dropped.
	Auth *auth.Config

	// Seed makes the random choices repeatable.
	Seed uint64
}

// A RateControl says within which bounds NORM-CC controls the rate, in bits per second of UDP payload.
type RateControl struct {
	// StartRate is the rate that slow start begins with. If zero, 1 Mbit/s, within the bounds below. RFC 5740 has
	// MIN(NormSegmentSize/GRTT_sender, NormSegmentSize) bytes per second, which is a segment a second: give 8*SegmentSize
	// for that. It takes 20 s to 100 Mbit/s, and as long again after each break. A rate that every path bears does no harm.
	StartRate float64
	// MinRate is the "minimum NORM rate", below which the rate is not reduced; the RFC gives no value. If zero, a segment a
	// second. At least a segment in 8 s (RFC 4654, Section 3.3).
	MinRate float64
	// MaxRate is what the rate is never above. If zero, no limit.
	MaxRate float64
	// Potential are receivers known to be behind slow or lossy paths, at most 16: they are asked for immediate feedback from
	// the start, as "potential limiting receivers" (PLR).
	Potential []NodeID
	// Near is how many receivers more become PLRs because their feedback says that they bear hardly more than the current
	// limiting receiver does, at most 15: when one of them takes its place, what it bears is known at once. If zero, none.
	Near int
	// Patience is how long the rate may stay at MinRate for the sake of receivers that report to bear less; then they are not
	// reckoned with any more, nor is less than MinRate that is reported from their addresses. RFC 5740, Section 5.2 lets a sender
	// "exclude exceptionally poorly performing (or otherwise badly behaving) receivers"; what one that is excluded bears is
	// exceeded, so it should leave ([ReceiverConfig].MinRate). If zero, there is no limit.
	Patience time.Duration
	// Withhold keeps content back while no receiver answers probes: from the start until the first feedback, and when none came
	// for RobustFactor probes. It is for groups in which somebody answers.
	Withhold bool
}

// ReceiverConfig holds what a [Receiver] may be told. Node and Group must be set; every other field is right at zero.
type ReceiverConfig struct {
	Node  NodeID         // our NormNodeId, unique in the session; neither 0 nor 0xffffffff
	Group netip.AddrPort // the session's group; in a unicast session our own address, or that of the sender

	// RepairGroup, unless zero, is the group that the senders' repairs go to. It is to be listened to only while
	// [Receiver.HearsRepairs] says so. Where nothing comes there of a sender that was asked, repairs are asked for in Group.
	RepairGroup netip.AddrPort

	// MaxSuppressed is how many NACK cycles in a row may be suppressed by what others asked for while nothing came of it;
	// then we ask nevertheless, as it may have been forged. If zero, 3. If negative, no number is too many.
	MaxSuppressed int
	// Feedback says where NORM_NACK and NORM_ACK go. If zero, FeedbackAuto.
	Feedback FeedbackPolicy
	// Guard says when unicast NACKs to the sender of a group are withheld lest its failure bring the NACKs of all upon
	// it. If zero, GuardSilence.
	Guard GuardPolicy
	// Silent receivers never send anything, as where there is no way back: what parity cannot mend stays missing.
	Silent bool

	// Sender, unless zero, is the only sender listened to; SenderAddr, unless zero, the only address it is heard from.
	Sender     NodeID
	SenderAddr netip.Addr

	// Evidence, unless nil, makes us doubt what only a sender can say; see there.
	Evidence *EvidencePolicy

	// Join says what is asked for that was sent before we came. If zero, JoinCurrent.
	Join JoinPolicy
	// Dialect says how FEC Object Transmission Information and parity are read.
	Dialect DialectPolicy
	// Patience delays the first request for content that was sent before we joined until the sender's first FLUSH, so
	// that a late receiver does not stall the others. Without it such content is asked for at once.
	Patience bool
	// StreamLive lets new content of a stream overwrite the oldest where an application does not read it, or a repair does not
	// come, in time. Otherwise new content has to wait, and is asked for again when there is room.
	StreamLive bool
	// StreamUnordered delivers the content of streams as it comes, each piece with its offset, and not in order.
	StreamUnordered bool

	// Nack says what is asked for of an object, until [Receiver.SetNack] says something else. If zero, NackAll.
	Nack NackMode
	// Boundary says where in a sender's content a NACK procedure begins. If zero, BoundaryBlock.
	Boundary Boundary
	// Locate makes [Receiver.RejectRange] keep the blocks it is about, and ask for parity, two symbols for each wrong one, that
	// tells which of their symbols are wrong; only those are missing then. So a forged datagram costs about its like, not a
	// block. It takes an address for each symbol that does not come from where others do, and memory once something is wrong.
	Locate bool
	// MaxDelay is how long an object may stay incomplete when the sender's transmit position has left it behind, or the
	// sender is silent; then it is aborted with [ErrOverdue], unless it is a preset one. If zero, as long as it takes.
	MaxDelay time.Duration

	// PurgeAfter is how long a sender that is lost or has ended is remembered; then its incomplete objects are aborted
	// with [ErrSenderLost]. One from which objects are expected is kept. If zero, until MaxSenders others are heard.
	PurgeAfter time.Duration
	// RobustFactor is NORM_ROBUST_FACTOR: how many silent inactivity periods it takes to give a sender up. If zero, 20.
	RobustFactor int
	// MinGRTT and MaxGRTT clamp the GRTT senders advertise. If zero, 1 ms and 15 s.
	MinGRTT, MaxGRTT time.Duration

	// MinRate is the rate, in bits per second, below which it makes no sense to receive: where congestion control finds for
	// 30 s that our path bears less, the event is TooSlow. If zero, there is none.
	MinRate float64

	// MaxSenders is how many senders are tracked; beyond it the one longest silent is dropped. If zero, 16.
	MaxSenders int
	// MaxObjects is how many incomplete objects of a sender are held. If zero, 256. At most 32,767.
	MaxObjects int
	// MaxObjectSize bounds what a stranger may announce, in bytes. If zero, 1 TiB. Objects of more than 2^24 blocks, or of
	// blocks larger than Buffer, are not received either.
	MaxObjectSize int64
	// Buffer is the memory for blocks being received, in bytes, shared by all senders; nothing is taken before a block
	// arrives. Decoding one takes up to as much as that block once more, which is kept for the next. When it is full the oldest incomplete
	// block is spilled to the sink and read back for decoding; a symbol without a buffer counts as not received. If zero, 8 MiB.
	Buffer int
	// Memory, unless nil, is shared with other receivers, and Buffer then only what a block must fit in.
	Memory *Memory

	// Check, unless nil, says what the application knows of a source symbol: the bytes of an object from offset on. A symbol
	// that it calls Forged takes no place in a block, and none that was rebuilt of forged parity reaches the sink. It is
	// called for each source symbol that is new, for those rebuilt, and for those of blocks found wrong; it must not keep the
	// symbol nor call methods of the Receiver.
	Check func(h Handle, offset int64, symbol []byte) Verdict

	// Auth, unless nil, authenticates all packets (RFC 6584): ours are sealed, what is not authentic is dropped unseen.
	Auth *auth.Config
	// StreamBuffer is how much of Buffer one stream may use, in bytes; less if its sender announces a smaller buffer. If zero,
	// half of Buffer.
	StreamBuffer int

	// Seed makes the random choices repeatable; receivers of one group need different seeds.
	Seed uint64
}

// A JoinPolicy says where a receiver that comes late begins (RFC 5740, Section 5.2).
type JoinPolicy uint8

const (
	// JoinCurrent begins with the block of the first NORM_DATA or NORM_INFO that is no repair: the RFC's recommendation.
	JoinCurrent JoinPolicy = iota
	// JoinObject begins with the first whole object after that: the one in progress is ignored unless heard from its start.
	JoinObject
	// JoinStream begins as JoinCurrent does, but asks for all that the sender of a stream has buffered, where the others begin
	// with the block of the stream that is being sent.
	JoinStream
	// JoinAll asks for everything the sender still repairs, from the first object on.
	JoinAll
)

// A DialectPolicy says whose reading of the code a receiver assumes.
type DialectPolicy uint8

const (
	// DialectAuto recognises senders by NRL at their first EXT_FTI, for the whole run: for FEC Encoding IDs 2 and 5 a last
	// field below the maximum source block length is a parity count. With as much parity as source symbols or more the
	// two cannot be told apart, and RFC 5510 is assumed: NRL's parity then gives wrong content, so say DialectNRL where
	// senders are set up so. FEC Encoding ID 129 instance 0 is read as NRL's.
	DialectAuto DialectPolicy = iota
	DialectRFC                // RFC 5510, always
	DialectNRL                // NRL's matrix, shortening, byte order and parity count, always
	// DialectMDP reads FEC Encoding ID 129 instance 0 as the MDP code of old releases by NRL, and others as DialectAuto
	// does. Nothing on the wire tells MDP from the others: who has such senders must say so.
	DialectMDP
)

const (
	defaultSegmentSize  = 1400
	defaultRate         = 10e6
	defaultStartRate    = 1e6
	maxPotential        = 16
	defaultGRTT         = 500 * time.Millisecond // RFC 5740, Section 6
	defaultBackoff      = 4                      // RFC 5740, Section 5.3
	defaultBackoffSSM   = 6
	defaultGroupSize    = 10_000 // RFC 5740, Section 5.5.4
	defaultRobustFactor = 20     // RFC 5740, Section 6
	defaultFlowControl  = 5
	defaultBuffer       = 8 << 20
	maxHeldObjects      = 1<<15 - 1
	maxRate             = 1e15 // bits per second
	maxFlowControl      = 1000
)

// resolve returns a copy of c with the defaults filled in, or says which field cannot work.
func (c SenderConfig) resolve() (SenderConfig, error) {
	if err := cmp.Or(checkNode(c.Node, c.Group), CheckRepairGroup(c.RepairGroup, c.Group)); err != nil {
		return c, err
	}
	var err error
	if c.Service, err = c.Service.resolve(); err != nil {
		return c, err
	}
	multicast := c.Group.Addr().IsMulticast()
	c.SegmentSize = cmp.Or(c.SegmentSize, defaultSegmentSize-c.Auth.SenderOverhead())
	if c.FEC.ID == 0 && c.FEC.MaxBlockLen == 0 {
		dialect := c.FEC.Dialect
		c.FEC = fec.Default()
		c.FEC.Dialect = dialect
	}
	c.FEC.SegmentSize = c.SegmentSize
	if c.Control != nil {
		control, err := c.Control.resolve(c.Rate, c.SegmentSize)
		if err != nil {
			return c, err
		}
		c.Control, c.Rate = &control, control.StartRate
	}
	c.Rate = cmp.Or(c.Rate, defaultRate)
	c.GRTT = cmp.Or(c.GRTT, defaultGRTT)
	c.MinGRTT = cmp.Or(c.MinGRTT, time.Millisecond)
	c.MaxGRTT = cmp.Or(c.MaxGRTT, 10*time.Second)
	c.GRTT = min(max(c.GRTT, c.MinGRTT), c.MaxGRTT)
	switch {
	case c.BackoffFactor == 0 && sourceSpecific(c.Group.Addr()):
		c.BackoffFactor = defaultBackoffSSM
	case c.BackoffFactor == 0 && multicast:
		c.BackoffFactor = defaultBackoff
	case c.BackoffFactor < 0:
		c.BackoffFactor = 0
	}
	c.GroupSize = cmp.Or(c.GroupSize, defaultGroupSize)
	c.RobustFactor = cmp.Or(c.RobustFactor, defaultRobustFactor)
	c.MaxObjects = cmp.Or(c.MaxObjects, 256)
	c.MaxTracked = cmp.Or(c.MaxTracked, 1024)
	c.FlowControl = cmp.Or(c.FlowControl, defaultFlowControl)
	if c.AutoParity == 0 && c.RepairGroup.IsValid() {
		c.AutoParity = -1
	}
	c.Buffer = cmp.Or(c.Buffer, defaultBuffer)
	c.Burst = cmp.Or(c.Burst, defaultBurst(c.Rate, c.maxDatagram()))

	switch {
	// NRL's receivers cannot build a NACK below 28 bytes; RFC 5740 sets no lower bound, a segment must only hold a request.
	case c.SegmentSize < 28 || c.SegmentSize > 65_000:
		return c, fmt.Errorf("norm: SegmentSize %d: want 28 to 65000 bytes", c.SegmentSize)
	case !(c.Rate > 0 && c.Rate <= maxRate):
		return c, fmt.Errorf("norm: Rate %g: want bits per second above zero, at most %g", c.Rate, maxRate)
	case c.Burst < 0:
		return c, fmt.Errorf("norm: Burst %d: want bytes", c.Burst)
	case c.MinGRTT < 0 || c.MinGRTT > c.MaxGRTT:
		return c, fmt.Errorf("norm: MinGRTT %v, MaxGRTT %v: want the first positive and below the second", c.MinGRTT, c.MaxGRTT)
	case c.ProbeInterval < 0:
		return c, fmt.Errorf("norm: ProbeInterval %v: want a time", c.ProbeInterval)
	case c.BackoffFactor > 15:
		return c, fmt.Errorf("norm: BackoffFactor %d: the field holds at most 15", c.BackoffFactor)
	case c.BackoffFactor == 1 && multicast:
		return c, fmt.Errorf("norm: BackoffFactor 1: nothing is suppressed below 2 (RFC 5740, Section 5.3)")
	case c.GroupSize < 1:
		return c, fmt.Errorf("norm: GroupSize %d: want at least 1", c.GroupSize)
	case c.RobustFactor < 1:
		return c, fmt.Errorf("norm: RobustFactor %d: want at least 1", c.RobustFactor)
	case c.MaxObjects < 1 || c.MaxObjects > maxHeldObjects:
		return c, fmt.Errorf("norm: MaxObjects %d: want 1 to %d", c.MaxObjects, maxHeldObjects)
	case c.MaxBytes < 0:
		return c, fmt.Errorf("norm: MaxBytes %d: want bytes", c.MaxBytes)
	case c.Track > TrackAll:
		return c, fmt.Errorf("norm: Track %d is no policy", c.Track)
	case c.MaxTracked < 1:
		return c, fmt.Errorf("norm: MaxTracked %d: want at least 1", c.MaxTracked)
	case !(c.FlowControl <= maxFlowControl):
		return c, fmt.Errorf("norm: FlowControl %g: want at most %d", c.FlowControl, maxFlowControl)
	case c.FEC.M == 16 && c.SegmentSize%2 != 0: // RFC 5510, Section 8.4: a symbol is S elements of m bits
		return c, fmt.Errorf("norm: SegmentSize %d: want an even number of bytes, as the code is over GF(2^16)", c.SegmentSize)
	case c.FTI > FTINone:
		return c, fmt.Errorf("norm: FTI %d is no policy", c.FTI)
	case c.AutoParity > c.FEC.MaxParity:
		return c, fmt.Errorf("norm: AutoParity %d: the code has %d parity symbols", c.AutoParity, c.FEC.MaxParity)
	}
	return c, nil
}

// Check says which field cannot work with segments of the given size.
func (c RateControl) Check(segmentSize int) error {
	_, err := c.resolve(0, segmentSize)
	return err
}

// resolve returns a copy of c with the defaults filled in, or says which field cannot work.
func (c RateControl) resolve(rate float64, segmentSize int) (RateControl, error) {
	segment := 8 * float64(max(segmentSize, 1)) // what is too small is said elsewhere
	c.MinRate = cmp.Or(c.MinRate, segment)
	c.MaxRate = cmp.Or(c.MaxRate, maxRate)
	c.StartRate = cmp.Or(c.StartRate, min(max(defaultStartRate, c.MinRate), c.MaxRate))
	switch {
	case rate != 0:
		return c, fmt.Errorf("norm: Rate %g: want zero beside Control", rate)
	case !(c.MinRate >= segment/8 && c.MinRate <= c.MaxRate):
		return c, fmt.Errorf("norm: MinRate %g: want at least a segment in 8 s, %g bits per second, and at most the greatest rate", c.MinRate, segment/8)
	case !(c.MaxRate <= maxRate):
		return c, fmt.Errorf("norm: MaxRate %g: want bits per second, at most %g", c.MaxRate, maxRate)
	case !(c.StartRate >= c.MinRate && c.StartRate <= c.MaxRate):
		return c, fmt.Errorf("norm: StartRate %g: want it between the least and the greatest rate", c.StartRate)
	case c.Patience < 0:
		return c, fmt.Errorf("norm: Patience %v: want a time", c.Patience)
	case c.Near < 0 || c.Near >= maxListed:
		return c, fmt.Errorf("norm: Near %d: want at most %d receivers", c.Near, maxListed-1)
	case len(c.Potential) > maxPotential:
		return c, fmt.Errorf("norm: Potential has %d receivers: want at most %d", len(c.Potential), maxPotential)
	}
	return c, nil
}

// sourceSpecific reports whether a group is one of source-specific multicast (RFC 4607, Section 1).
func sourceSpecific(group netip.Addr) bool {
	if group.Is4() || group.Is4In6() {
		return group.Unmap().As4()[0] == 232
	}
	b := group.As16()
	return b[0] == 0xff && b[1]>>4 == 3 && b[2] == 0 && b[3] == 0
}

// maxDatagram returns how long a datagram of the sender may be, in bytes.
func (c SenderConfig) maxDatagram() int {
	return c.SegmentSize + maxDataHeader + c.Auth.SenderOverhead()
}

// defaultBurst returns what rate, in bits per second, gives in 2 ms, but at least a datagram, in bytes. That is a few system
// calls at high rates, and what the buffer of a small switch holds at those of its slowest port.
func defaultBurst(rate float64, maxDatagram int) int {
	return max(int(min(rate/8*0.002, 1<<30)), maxDatagram)
}

// resolve returns a copy of c with the defaults filled in, or says which field cannot work.
func (c ReceiverConfig) resolve() (ReceiverConfig, error) {
	if err := cmp.Or(checkNode(c.Node, c.Group), CheckRepairGroup(c.RepairGroup, c.Group)); err != nil {
		return c, err
	}
	if c.Evidence != nil {
		var err error
		if c.Evidence, err = c.Evidence.resolve(c.Group.Addr()); err != nil {
			return c, err
		}
	}
	c.RobustFactor = cmp.Or(c.RobustFactor, defaultRobustFactor)
	c.MinGRTT = cmp.Or(c.MinGRTT, time.Millisecond)
	c.MaxGRTT = cmp.Or(c.MaxGRTT, 15*time.Second)
	c.MaxSuppressed = cmp.Or(c.MaxSuppressed, 3)
	c.MaxSenders = cmp.Or(c.MaxSenders, 16)
	c.MaxObjects = cmp.Or(c.MaxObjects, 256)
	c.MaxObjectSize = cmp.Or(c.MaxObjectSize, 1<<40)
	c.Buffer = cmp.Or(c.Buffer, defaultBuffer)
	c.StreamBuffer = min(cmp.Or(c.StreamBuffer, c.Buffer/2), c.Buffer)
	switch {
	case c.RobustFactor < 1:
		return c, fmt.Errorf("norm: RobustFactor %d: want at least 1", c.RobustFactor)
	case c.MaxSenders < 1:
		return c, fmt.Errorf("norm: MaxSenders %d: want at least 1", c.MaxSenders)
	case c.MaxObjects < 1 || c.MaxObjects > maxHeldObjects:
		return c, fmt.Errorf("norm: MaxObjects %d: want 1 to %d", c.MaxObjects, maxHeldObjects)
	case c.MinGRTT < 0 || c.MinGRTT > c.MaxGRTT:
		return c, fmt.Errorf("norm: MinGRTT %v, MaxGRTT %v: want the one at most the other", c.MinGRTT, c.MaxGRTT)
	case c.MaxObjectSize < 0:
		return c, fmt.Errorf("norm: MaxObjectSize %d: want bytes", c.MaxObjectSize)
	case c.Buffer < 1:
		return c, fmt.Errorf("norm: Buffer %d: want bytes", c.Buffer)
	case !(c.MinRate >= 0):
		return c, fmt.Errorf("norm: MinRate %g: want bits per second", c.MinRate)
	case c.Feedback > FeedbackUnicast:
		return c, fmt.Errorf("norm: Feedback %d is no policy", c.Feedback)
	case c.Feedback == FeedbackGroup && !c.Group.Addr().IsMulticast():
		return c, fmt.Errorf("norm: Feedback to the group: %v is none", c.Group)
	case c.Guard > GuardNever:
		return c, fmt.Errorf("norm: Guard %d is no policy", c.Guard)
	case c.Nack > NackNone:
		return c, fmt.Errorf("norm: Nack %d is no mode", c.Nack)
	case c.Boundary > BoundaryObject:
		return c, fmt.Errorf("norm: Boundary %d is none", c.Boundary)
	case c.MaxDelay < 0 || c.PurgeAfter < 0:
		return c, fmt.Errorf("norm: MaxDelay %v, PurgeAfter %v: want times", c.MaxDelay, c.PurgeAfter)
	case c.StreamBuffer < 0:
		return c, fmt.Errorf("norm: StreamBuffer %d: want bytes", c.StreamBuffer)
	case c.Join > JoinAll:
		return c, fmt.Errorf("norm: Join %d is no policy", c.Join)
	case c.Dialect > DialectMDP:
		return c, fmt.Errorf("norm: Dialect %d is no dialect", c.Dialect)
	}
	return c, nil
}

// checkNode refuses what no participant may be called (RFC 5740, Section 6) and a group that is no address.
func checkNode(id NodeID, group netip.AddrPort) error {
	if id == 0 || id == 0xffffffff {
		return fmt.Errorf("norm: Node %#x: give each participant its own NormNodeId, neither 0 nor 0xffffffff", uint32(id))
	}
	if !group.IsValid() || group.Port() == 0 {
		return fmt.Errorf("norm: Group %v: want an address and a port", group)
	}
	return nil
}

// CheckRepairGroup says why repairs cannot be the RepairGroup of a session in group. The zero AddrPort is none, and can.
func CheckRepairGroup(repairs, group netip.AddrPort) error {
	a, g := repairs.Addr(), group.Addr()
	switch {
	case repairs == netip.AddrPort{}:
		return nil
	case !g.IsValid():
		return fmt.Errorf("norm: RepairGroup %v: it needs a Group beside it", repairs)
	case !a.IsMulticast() || a.Zone() != "" || repairs.Port() == 0 || !g.IsMulticast():
		return fmt.Errorf("norm: RepairGroup %v beside %v: want two multicast groups, and this one with a port and without a zone", repairs, group)
	case a.Is4() != g.Is4() || sourceSpecific(a) != sourceSpecific(g):
		return fmt.Errorf("norm: RepairGroup %v beside %v: want both of one IP version, and both source-specific or neither", repairs, group)
	case a == g:
		return fmt.Errorf("norm: RepairGroup %v: want another address than that of Group", repairs)
	}
	return nil
}
