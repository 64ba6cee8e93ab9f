package auth

import (
	"errors"
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// Why a packet is not authentic.
var (
	ErrMissing = errors.New("auth: not exactly one EXT_AUTH of the session's scheme") // or one of another length, or without sequence number
	ErrRun     = errors.New("auth: a run of the sender that no NORM_CMD(CC) has opened")
	ErrReplay  = errors.New("auth: replayed")
	ErrTag     = errors.New("auth: the tag does not match")
	ErrLimited = errors.New("auth: not checked, as too many packets fail")
	ErrEcho    = errors.New("auth: our own packet, come back") // or played back: it bears a number that we have used
)

// ErrExhausted: the 40-bit sequence number is used up. "The sender SHOULD ensure that the counter does not cycle" (RFC
// 6584, Section 3.3.2), so nothing more can be sent with this key.
var ErrExhausted = errors.New("auth: all sequence numbers are used; the session needs another key")

const (
	fixedSize   = 8 // of EXT_AUTH ahead of the tag: het, hel, ASID, AR and the sequence number
	maxSequence = 1<<40 - 1
)

// A direction is one of the two in which packets go: the sender's, or feedback.
type direction struct {
	scheme scheme // nil: not authenticated
	asid   uint8
	nodes  nodes
	limit  limit
}

// An Authenticator seals what one node sends and verifies what it hears. The nil Authenticator adds nothing and accepts
// all. Its methods must not be called concurrently.
type Authenticator struct {
	sender   direction // of NORM_INFO, NORM_DATA and NORM_CMD
	feedback direction // of NORM_NACK, NORM_ACK and NORM_REPORT
	own      *direction
	sequence uint64      // of the last packet sealed: "initialized to 0 [...]. Thus, the first packet sent will contain an SN of 1"
	id       wire.NodeID // our own, and our instance_id if we send
	instance wire.InstanceID
	ext      wire.Extensions
}

// NewSender returns the Authenticator of a node that sends objects, nil for a nil c. The error names the field of c that
// cannot work.
func NewSender(c *Config) (*Authenticator, error) {
	a, err := newAuthenticator(c)
	if a == nil || err != nil {
		return nil, err
	}
	if c.Public != nil && c.Signer == nil {
		return nil, errors.New("norm: Auth: Signer: a sender needs the private key")
	}
	a.own = &a.sender
	return a, nil
}

// NewReceiver returns the Authenticator of a node that receives, nil for a nil c. The error names the field of c that
// cannot work.
func NewReceiver(c *Config) (*Authenticator, error) {
	a, err := newAuthenticator(c)
	if a == nil || err != nil {
		return nil, err
	}
	a.own = &a.feedback
	return a, nil
}

func newAuthenticator(given *Config) (*Authenticator, error) {
	if given == nil {
		return nil, nil
	}
	c, err := given.resolve()
	if err != nil {
		return nil, err
	}
	remember := nodes{half: max(1, c.MaxNodes/2), forget: c.Forget}
	a := &Authenticator{
		sender:   direction{asid: c.ASID, nodes: remember, limit: limit{failures: 10_000}},
		feedback: direction{asid: c.ASID, nodes: remember, limit: limit{failures: 10_000}},
	}
	if c.Key != nil {
		mac, err := newGroupMAC(c.Key, "feedback", c.MACBits)
		if err != nil {
			return nil, err
		}
		a.feedback.scheme = mac
	}
	switch {
	case c.Public == nil:
		mac, err := newGroupMAC(c.Key, "sender", c.MACBits)
		if err != nil {
			return nil, err
		}
		a.sender.scheme = mac
	case c.Key == nil:
		a.sender.scheme = newSignature(c, signatureSize)
		a.sender.limit.failures = 200
	default:
		mac, err := newGroupMAC(c.Key, "sender", preCheckBits)
		if err != nil {
			return nil, err
		}
		a.sender.scheme = combined{newSignature(c, signatureSize+mac.size()), mac}
	}
	if c.Public != nil {
		a.feedback.asid = c.ASID%15 + 1
	}
	if c.MaxFailures != 0 {
		a.sender.limit.failures, a.feedback.limit.failures = c.MaxFailures, c.MaxFailures
	}
	return a, nil
}

// Overhead returns how many bytes sealing adds to a packet.
func (a *Authenticator) Overhead() int {
	if a == nil || a.own.scheme == nil {
		return 0
	}
	return fixedSize + a.own.scheme.size()
}

// Room appends Overhead bytes to b, behind which the message to be sealed is to be appended.
func (a *Authenticator) Room(b []byte) []byte {
	n := a.Overhead()
	return slices.Grow(b, n)[:len(b)+n]
}

// Seal makes one packet of the room and the message behind it, which together are b. The extension is put into the encoded
// message, and not left to those who encode, so that no message can go out without; only its header has to be moved. The
// error is ErrExhausted.
func (a *Authenticator) Seal(b []byte) error {
	size := a.Overhead()
	if size == 0 {
		return nil
	}
	if a.sequence == maxSequence {
		return ErrExhausted
	}
	a.sequence++
	a.note(b[size:])
	at, err := wire.InsertRoom(b, size)
	if err == nil {
		x := wire.ExtAuth{ASID: a.own.asid, AntiReplay: true, Sequence: a.sequence, Tag: zeros[:size-fixedSize]}
		a.ext, err = wire.AppendAuth(a.ext[:0], x)
	}
	if err != nil {
		panic("auth: " + err.Error()) // our headers leave room, and the values are in range
	}
	copy(b[at:], a.ext)
	a.own.scheme.seal(b, at+fixedSize)
	return nil
}

// note takes from a message of ours how others know us.
func (a *Authenticator) note(message []byte) {
	h, sh, err := wire.PeekSender(message)
	a.id = h.Source
	if err == nil {
		a.instance = sh.Instance
	}
}

// echo reports whether a packet in our own direction has an id and a number of ours.
func (a *Authenticator) echo(d *direction, source wire.NodeID, r run, sequence uint64) bool {
	return d == a.own && source == a.id && r.instance == a.instance && sequence <= a.sequence
}

// Verify returns nil if the packet may be accepted, and else why not. It must come before anything of the packet is used.
// It never writes to the packet.
func (a *Authenticator) Verify(now time.Time, packet []byte) error {
	if a == nil {
		return nil
	}
	h, err := wire.Peek(packet)
	if err != nil {
		return err
	}
	if h.Type == wire.TypeInfo || h.Type == wire.TypeData || h.Type == wire.TypeCmd {
		r, err := runOf(packet)
		if err != nil {
			return err
		}
		return a.verify(now, &a.sender, packet, h.Source, r)
	}
	if a.feedback.scheme == nil {
		return nil
	}
	return a.verify(now, &a.feedback, packet, h.Source, run{})
}

// verify checks in the order of RFC 6584, Sections 3.3.2 and 3.4: that there is exactly one EXT_AUTH, that its number is
// fresh, then the tag; and only then the window moves.
func (a *Authenticator) verify(now time.Time, d *direction, packet []byte, source wire.NodeID, r run) error {
	x, at, err := d.extension(packet)
	if err != nil {
		return err
	}
	if a.echo(d, source, r, x.Sequence) {
		return ErrEcho
	}
	d.nodes.age(now)
	n := d.nodes.find(source)
	begins := n == nil || n.instance != r.instance
	switch {
	case begins && r.sender && !r.probe:
		return ErrRun
	case begins && n != nil && r.sent.Sub(n.sent) <= 0:
		return ErrReplay // of an earlier run
	case begins && x.Sequence == 0, !begins && !n.window.fresh(x.Sequence):
		return ErrReplay
	case !d.limit.allows(now):
		return ErrLimited
	case !d.scheme.open(packet, at):
		d.limit.failed++
		return ErrTag
	}
	if begins {
		n = &node{instance: r.instance, sent: r.sent}
	}
	n.window.accept(x.Sequence)
	if r.probe && r.sent.Sub(n.sent) > 0 {
		n.sent = r.sent
	}
	d.nodes.keep(now, source, n)
	return nil
}

// extension finds the one EXT_AUTH of the scheme, and where its tag is. "Each packet sent MUST contain exactly one [...] A
// receiver MUST drop packets that do not contain" it: Sections 3.4, 5.4 and 6.4. Those of other schemes are ignored.
func (d *direction) extension(packet []byte) (found wire.ExtAuth, at int, err error) {
	ext, offset, err := wire.PeekExtensions(packet)
	if err != nil {
		return found, 0, ErrMissing
	}
	count := 0
	for het, e := range ext.All() {
		if het == wire.TypeExtAuth {
			if x, ok := wire.ParseAuth(e); ok && x.ASID == d.asid {
				found, at = x, offset+fixedSize
				count++
			}
		}
		offset += len(e)
	}
	if count != 1 || !found.AntiReplay || len(found.Tag) != d.scheme.size() {
		return found, 0, ErrMissing
	}
	return found, at, nil
}

// A run is what a packet says of the run of the node that sent it.
type run struct {
	sender   bool            // a receiver has but one run under its NormNodeId
	instance wire.InstanceID // of a sender
	probe    bool            // it is a NORM_CMD(CC)
	sent     wire.Timestamp  // its send_time
}

// runOf reads the headers of a sender's packet.
func runOf(packet []byte) (run, error) {
	_, sh, err := wire.PeekSender(packet)
	if err != nil {
		return run{}, err
	}
	r := run{sender: true, instance: sh.Instance}
	if cmd, err := wire.PeekCmd(packet); err == nil && cmd == wire.CmdCC {
		var m wire.CC
		if err := m.Parse(packet); err != nil {
			return run{}, err
		}
		r.probe, r.sent = true, m.SendTime
	}
	return r, nil
}
