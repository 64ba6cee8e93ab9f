package norm

import (
	"errors"
	"iter"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/norm/auth"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// A Receiver receives objects from the senders of a group and asks for what it missed, as RFC 5740, Sections 5.2 and
// 5.3 say. It is a value without sockets, goroutines or clock; the package comment has the contract of its methods.
type Receiver struct {
	cfg  ReceiverConfig
	rng  rand.Rand
	auth *auth.Authenticator

	senders map[NodeID]*remote
	order   []*remote // the same, in the order they were first heard
	objects map[Handle]*incoming
	handles Handle      // the last one given out
	kept    []*incoming // complete ones that can still be rejected, oldest first

	vigil   *vigil // nil: forged symbols are not looked for
	leaving bool   // Leave was called
	voice   *voice // nil: it never had anything to say

	*stock            // of cfg.Memory, or our own
	held    blockList // blocks collecting symbols in memory, oldest first
	usual   int       // bytes that the last block took
	flying  int       // requests that are not completed
	parting int       // bytes of buffers that come back when what is being written is written

	requests fifo[*IO]
	events   fifo[Event]
	stats    ReceiverStats
}

// NewReceiver returns a Receiver. The error names the field of cfg that cannot work.
func NewReceiver(cfg ReceiverConfig) (*Receiver, error) {
	cfg, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	authenticator, err := auth.NewReceiver(cfg.Auth)
	if err != nil {
		return nil, err
	}
	r := &Receiver{
		cfg:  cfg,
		auth: authenticator,
		rng:  *rand.New(rand.NewPCG(cfg.Seed, uint64(cfg.Node))),
	}
	if cfg.Memory != nil {
		r.stock = &cfg.Memory.stock
	} else {
		r.stock = &stock{pool: bufferPool{limit: cfg.Buffer}}
	}
	if cfg.Locate || cfg.Check != nil {
		r.vigil = new(vigil)
	}
	return r, nil
}

// Handle processes a datagram that arrived.
func (r *Receiver) Handle(now time.Time, d Datagram) {
	r.stats.Datagrams++
	r.stats.Bytes += uint64(len(d.B))
	h, err := wire.Peek(d.B)
	forged := r.auth.Verify(now, d.B)
	switch {
	case errors.Is(err, wire.ErrType):
		r.stats.Drops.Useless++
	case err != nil:
		r.stats.Drops.Malformed++
	case forged != nil:
		r.stats.Drops.notAuthentic(forged)
	case h.Source == r.cfg.Node:
		r.handleOwn(d, h)
	case h.Type == wire.TypeNack:
		r.handleNack(now, d.B)
	case h.Type == wire.TypeAck:
		r.handleAck(now, d.B)
	case h.Type == wire.TypeReport:
		r.stats.Reports++ // "the format of NORM_REPORT is undefined"
	case r.cfg.Sender != 0 && h.Source != r.cfg.Sender, r.cfg.SenderAddr.IsValid() && d.From.Addr() != r.cfg.SenderAddr:
		r.stats.Drops.Foreign++
	case r.ignores(now, h.Source, d.From):
		r.vigil.stats.Ignored++
	default:
		if r.vigil != nil {
			r.vigil.from = d.From
		}
		err := r.handleSender(now, d)
		if s := r.senders[h.Source]; s != nil && err != errForeign && err != errDisbelieved {
			r.arrived(now, s, h.Sequence, d)
			if err == nil {
				r.locate(now, s, d.From)
			}
		}
		r.count(err)
	}
}

// handleSender processes a message of a sender.
func (r *Receiver) handleSender(now time.Time, d Datagram) error {
	h, sh, err := wire.PeekSender(d.B)
	if err != nil {
		return err
	}
	if !r.believes(now, h.Source, sh.Instance, d) {
		return errDisbelieved
	}
	switch h.Type {
	case wire.TypeData:
		var m wire.Data
		if err := m.Parse(d.B); err != nil {
			return r.unreadable(now, d, h, sh, err)
		}
		return r.handleData(now, &m)
	case wire.TypeInfo:
		var m wire.Info
		if err := m.Parse(d.B); err != nil {
			return err
		}
		return r.handleInfo(now, &m)
	}
	switch command, _ := wire.PeekCmd(d.B); command {
	case wire.CmdFlush:
		var m wire.Flush
		if err := m.Parse(d.B); err != nil {
			return r.unreadable(now, d, h, sh, err)
		}
		return r.handleFlush(now, &m)
	case wire.CmdSquelch:
		var m wire.Squelch
		if err := m.Parse(d.B); err != nil {
			return r.unreadable(now, d, h, sh, err)
		}
		return r.handleSquelch(now, &m)
	case wire.CmdCC:
		var m wire.CC
		if err := m.Parse(d.B); err != nil {
			return err
		}
		return r.handleCC(now, &m)
	case wire.CmdRepairAdv:
		var m wire.RepairAdv
		if err := m.Parse(d.B); err != nil {
			return err
		}
		return r.handleRepairAdv(now, &m)
	case wire.CmdEOT:
		var m wire.EOT
		if err := m.Parse(d.B); err != nil {
			return err
		}
		return r.handleEOT(now, &m)
	case wire.CmdAckReq:
		var m wire.AckReq
		if err := m.Parse(d.B); err != nil {
			return r.unreadable(now, d, h, sh, err)
		}
		return r.handleAckReq(now, &m)
	case wire.CmdApplication:
		var m wire.Application
		if err := m.Parse(d.B); err != nil {
			return err
		}
		return r.handleApplication(now, &m)
	}
	// What later revisions may bring.
	return r.unreadable(now, d, h, sh, wire.ErrCmdType)
}

// unreadable follows the sender by the headers of a message whose rest is of no use.
func (r *Receiver) unreadable(now time.Time, d Datagram, h wire.Header, sh wire.SenderHeader, err error) error {
	if err == wire.ErrCmdType || err == wire.ErrFECID || err == wire.ErrAckType {
		if _, foreign := r.sender(now, h, sh); foreign != nil {
			return foreign
		}
	}
	return err
}

// Why a message is dropped, beside the errors of package wire.
var (
	errForeign = errors.New("norm: foreign")
	errUseless = errors.New("norm: useless")
	errRefused = errors.New("norm: refused")
	errForged  = errors.New("norm: forged")

	errDisbelieved = errors.New("norm: disbelieved")
)

// count counts a dropped message.
func (r *Receiver) count(err error) {
	switch err {
	case nil:
	case errForeign:
		r.stats.Drops.Foreign++
	case errRefused:
		r.stats.Drops.Refused++
	case errDisbelieved:
		r.stats.Drops.Disbelieved++
	case errForged:
		r.vigil.stats.Refused++
	case errUseless, wire.ErrType, wire.ErrCmdType, wire.ErrFECID, wire.ErrAckType:
		r.stats.Drops.Useless++
	default:
		r.stats.Drops.Malformed++
	}
}

// Advance processes the timers that are due.
func (r *Receiver) Advance(now time.Time) {
	for _, s := range r.order {
		if due(s.nack.deadline(), now) {
			r.nackTimeout(now, s)
		}
		if due(s.probe.deadline(), now) {
			r.probeTimeout(now, s)
		}
		if due(s.inactive(r.cfg.RobustFactor), now) {
			r.inactivityTimeout(now, s)
		}
		if due(s.overdue, now) {
			r.abortOverdue(now, s)
		}
		if due(s.repairs.deadline(), now) {
			r.repairsTimeout(now, s)
		}
		if due(s.standing.deadline(), now) {
			r.end(s)
		}
	}
	r.purgeSenders(now)
}

// Deadline returns when Advance must be called at the latest, or zero if no timer runs.
func (r *Receiver) Deadline() time.Time {
	var first time.Time
	for _, s := range r.order {
		first = earlier(earlier(first, s.deadline(r.cfg.RobustFactor)), r.purgeTime(s))
	}
	return first
}

// Poll appends one datagram to send to b, and returns where to.
func (r *Receiver) Poll(now time.Time, b []byte) (datagram []byte, to netip.AddrPort, ok bool) {
	n := len(b)
	datagram, to, ok = r.appendNext(now, r.auth.Room(b))
	if !ok || r.auth.Seal(datagram[n:]) != nil { // with a used-up key it is a receiver that cannot be heard
		return datagram[:n], netip.AddrPort{}, false
	}
	return datagram, to, true
}

// appendNext appends the next message, and returns where to send it.
func (r *Receiver) appendNext(now time.Time, b []byte) (datagram []byte, to netip.AddrPort, ok bool) {
	if r.cfg.Silent {
		return b, netip.AddrPort{}, false
	}
	for _, s := range r.order {
		to := r.destination(s)
		if s.nack.due {
			s.nack.due = false
			to := r.nackDestination(s, to)
			if b, ok = r.appendNack(now, s, to, b); ok {
				return b, to, true
			}
		}
		if s.acks != nil {
			if b, ok = r.appendOwed(now, s, to, b); ok {
				return b, to, true
			}
		}
		if s.probe.due {
			s.probe.due = false
			if b, ok = r.appendAck(now, s, wire.Ack{AckType: wire.AckCC}, to, b); ok {
				return b, to, true
			}
		}
	}
	return b, netip.AddrPort{}, false
}

// Requests returns the reads and writes of object bytes to perform.
func (r *Receiver) Requests() iter.Seq[*IO] { return r.requests.drain() }

// Pressed reports whether memory for symbols is short until requests are completed. A driver that handles more datagrams then
// may find that symbols have no buffer; one that completes requests first, for as long as the socket's queue bears it, does not.
func (r *Receiver) Pressed() bool {
	return r.flying > 0 && r.pool.available() < r.reserve(r.usual)
}

// Events returns what the application should know.
func (r *Receiver) Events() iter.Seq[Event] { return r.events.drain() }

// Stats returns the counters since the start.
func (r *Receiver) Stats() ReceiverStats { return r.stats }
