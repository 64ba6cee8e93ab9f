package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// MaxSession is the largest signed session description in bytes: 4 KiB, and MaxWraps wraps of MaxImages file keys each,
// which have 1,403 bytes in it.
const MaxSession = 92 << 10

// MaxWraps bounds the groups that the file keys of a campaign are wrapped for.
const MaxWraps = 64

// DefaultHold is how long a device keeps a stage past the vote deadline,
// unless the session description says otherwise.
const DefaultHold = 7 * 24 * time.Hour

// A CampaignID names a campaign. It is random, so that no two servers ever make the same.
type CampaignID [16]byte

// String returns the id in hexadecimal.
func (id CampaignID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText returns the form of String.
func (id CampaignID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the form of String.
func (id *CampaignID) UnmarshalText(text []byte) error {
	parsed, err := ParseCampaignID(string(text))
	*id = parsed
	return err
}

// ParseCampaignID reads the form of String.
func ParseCampaignID(s string) (id CampaignID, err error) {
	if len(s) != 2*len(id) {
		return id, fmt.Errorf("manifest: a campaign id has %d hexadecimal digits", 2*len(id))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return CampaignID{}, fmt.Errorf("manifest: campaign id: %w", err)
	}
	return id, nil
}

// A Session is a session description: where and how a campaign sends a
// release, and by when votes are due. The server key signs it.
type Session struct {
	Campaign CampaignID
	Serial   uint64    // rises with every description of the campaign
	Issued   time.Time // whole seconds
	Expires  time.Time // whole seconds

	Manifest Digest // of the release
	Targets  Digest // of the frozen list of devices
	Target   string // the same in words, up to 256 bytes, for people

	Group   netip.AddrPort // where to listen: multicast, or a unicast host
	Source  netip.Addr     // the only sender to listen to (source-specific multicast); zero: any
	Repairs netip.AddrPort // where repairs go, which is listened to only while something is missing; zero: to Group
	NodeID  uint32         // NormNodeId of the sender
	Objects Objects
	FEC     FEC

	Start        time.Time     // whole seconds; sending begins
	MinRate      uint64        // bits per second that the sender does not go below; 0: no promise
	VoteDeadline time.Time     // whole seconds; an undecided campaign is aborted then
	Hold         time.Duration // whole seconds of powered time past the deadline that a stage is kept
	Report       string        // http or https URL that votes and outcomes go to

	// Waves is how many waves the campaign has, if more than one: then each device has a decision of its own wave, at the
	// transport id of Objects.Decision plus the wave, and needs to be told by the server key which one it is in.
	Waves uint32

	// Wraps are the file keys of sealed images as groups of devices can open them, see Recipient.Wrap; SealDevices is whether
	// each device of the list is given them at the rendezvous as well, wrapped for it alone, when it proves its key.
	Wraps       []Wrap
	SealDevices bool

	// Segments is the list of segment hashes, if its digest is not zero.
	Segments Segments

	// Auth is AuthGroupMAC if the packets of the session are authenticated, with a key that the server gives to devices
	// which prove theirs; empty if they are not.
	Auth string
}

// A Wrap is what Recipient.Wrap made for a recipient.
type Wrap struct {
	To   KeyID
	Keys []byte
}

// MaxWaves bounds the waves of a campaign.
const MaxWaves = 1024

// AuthGroupMAC is EXT_AUTH by group-keyed MAC (RFC 6584, Section 5): HMAC-SHA-256 truncated to 128 bits, ASID 1, with
// anti-replay, its keys derived from a group key of 32 bytes as package norm/auth says.
const AuthGroupMAC = "hmac-sha256-128"

// Segments says where the segment hashes of a campaign are, and what they are.
type Segments struct {
	Object uint16 // NormTransportId: the one before the hash list
	Digest Digest // of the digests of its pieces, at its beginning; zero: there is no list
}

// Objects are the NormTransportIds of a campaign's objects.
type Objects struct {
	Hashes   uint16   // the hash list
	Images   []uint16 // in the order of the manifest
	Decision uint16   // of the first wave; those of the others follow
}

// ObjectsFor returns the usual numbering for n images: 0, 1 to n, n+1.
func ObjectsFor(n int) Objects {
	o := Objects{Decision: uint16(n + 1)}
	for i := range n {
		o.Images = append(o.Images, uint16(i+1))
	}
	return o
}

// FEC says how objects are cut and protected (RFC 5052).
type FEC struct {
	ID          uint8   // FEC Encoding ID: 0, 2, 5 or 129
	Instance    uint16  // FEC Instance ID; 0 unless ID is 128 or more
	BlockSize   uint16  // source symbols in a block (k)
	Parity      uint16  // parity symbols that a block may have
	SegmentSize uint16  // bytes
	Dialect     Dialect // whose code it is where two differ
	FieldSize   uint8   // m, the bits of a field element; 16 with ID 2, or 0 for the 8 that are usual
}

// A Dialect tells two readings of the FEC codes apart.
type Dialect string

const (
	DialectRFC Dialect = "rfc" // the matrices of RFC 5510
	DialectNRL Dialect = "nrl" // those of NRL's implementation
)

// Sign returns the signed session description. The key must have RoleServer.
func (s *Session) Sign(key *PrivateKey) ([]byte, error) {
	if key.Role() != RoleServer {
		return nil, fmt.Errorf("manifest: %w: a %s key cannot sign a session", ErrKeyRole, key.Role())
	}
	payload, err := s.encode()
	if err != nil {
		return nil, err
	}
	signed, err := key.Sign(sessionContext, payload)
	if err == nil && len(signed) > MaxSession {
		return nil, fmt.Errorf("manifest: %w: session of %d bytes, limit %d", ErrTooLarge, len(signed), MaxSession)
	}
	return signed, err
}

// Digest returns the SHA-256 of the bytes that are signed: it differs between
// any two descriptions. It is zero for a session that could not be signed.
func (s *Session) Digest() Digest {
	payload, err := s.encode()
	if err != nil {
		return Digest{}
	}
	return sha256.Sum256(payload)
}

// OpenSession returns the session description that the server key signed, if
// it has not expired and nothing newer is known. Current is the description
// that the device follows, nil if none: one of the same campaign is replaced
// only by a higher serial, though the very same may be opened again. Whether
// another campaign takes over is for the caller to decide. The error is
// ErrTooLarge, ErrSignature, ErrUnsupported, ErrMalformed, ErrRollback or ErrExpired.
func OpenSession(signed []byte, server PublicKey, current *Session, now time.Time) (*Session, error) {
	if server.role != RoleServer {
		return nil, fmt.Errorf("manifest: trusted key: %w: it is of role %s, want %s", ErrKeyRole, server.role, RoleServer)
	}
	if len(signed) > MaxSession {
		return nil, fmt.Errorf("%w: session of %d bytes, limit %d", ErrTooLarge, len(signed), MaxSession)
	}
	payload, err := server.Verify(sessionContext, signed)
	if err != nil {
		return nil, err
	}
	s, err := decodeSession(payload)
	if err != nil {
		return nil, err
	}
	if current != nil && current.Campaign == s.Campaign && s.Serial <= current.Serial && s.Digest() != current.Digest() {
		return nil, fmt.Errorf("%w: serial %d of campaign %s, serial %d is known", ErrRollback, s.Serial, s.Campaign, current.Serial)
	}
	if !now.Before(s.Expires) {
		return nil, fmt.Errorf("%w: session, on %s", ErrExpired, stamp(s.Expires))
	}
	return s, nil
}

// Describes returns nil if the session sends the release m, and otherwise why it does not.
func (s *Session) Describes(m *Manifest) error {
	if digest := m.Digest(); s.Manifest != digest {
		return fmt.Errorf("%w: session for manifest %s, this is %s", ErrMalformed, s.Manifest, digest)
	}
	if len(s.Objects.Images) != len(m.Images) {
		return fmt.Errorf("%w: session sends %d images of %d", ErrMalformed, len(s.Objects.Images), len(m.Images))
	}
	return nil
}

// validate returns what is wrong with the content. It holds at signing and at opening.
func (s *Session) validate() error {
	switch {
	case s.Campaign == CampaignID{}:
		return fmt.Errorf("no campaign id")
	case s.Serial == 0:
		return fmt.Errorf("serial 0: the first is 1")
	case !validTime(s.Issued) || !validTime(s.Expires) || !s.Issued.Before(s.Expires):
		return fmt.Errorf("issued %s, expires %s: want whole seconds in this order", stamp(s.Issued), stamp(s.Expires))
	case !validTime(s.Start) || !validTime(s.VoteDeadline) || !s.Start.Before(s.VoteDeadline):
		return fmt.Errorf("start %s, vote deadline %s: want whole seconds in this order", stamp(s.Start), stamp(s.VoteDeadline))
	case s.Hold == 0 || !validSeconds(s.Hold):
		return fmt.Errorf("hold %s, want whole seconds up to %s", s.Hold, maxDuration)
	case s.Manifest == Digest{}:
		return fmt.Errorf("no manifest digest")
	case s.Waves == 1 || s.Waves > MaxWaves:
		return fmt.Errorf("%d waves, want none or 2 to %d", s.Waves, MaxWaves)
	case s.Auth != "" && s.Auth != AuthGroupMAC:
		return fmt.Errorf("packet authentication %.32q is not known", s.Auth)
	case !printable(s.Target, 256):
		return fmt.Errorf("target %.80q: want up to 256 printable bytes", s.Target)
	}
	if err := s.validateGroup(); err != nil {
		return err
	}
	if err := s.validateWraps(); err != nil {
		return err
	}
	if err := s.Objects.validate(s.Waves); err != nil {
		return err
	}
	if err := s.Segments.validate(s.Objects, s.Waves); err != nil {
		return err
	}
	if err := s.FEC.validate(); err != nil {
		return err
	}
	return validateReport(s.Report)
}

func (s *Session) validateGroup() error {
	group, source := s.Group.Addr(), s.Source
	if !hostOrGroup(group) || s.Group.Port() == 0 {
		return fmt.Errorf("group %s: want an address without zone, and a port", s.Group)
	}
	if source.IsValid() && (!hostOrGroup(source) || source.IsMulticast() || !group.IsMulticast() || source.Is4() != group.Is4()) {
		return fmt.Errorf("source %s for group %s: want a host's address of the same family and a multicast group", source, group)
	}
	if repairs := s.Repairs.Addr(); s.Repairs != (netip.AddrPort{}) &&
		(!repairs.IsMulticast() || !hostOrGroup(repairs) || s.Repairs.Port() == 0 || !group.IsMulticast() || repairs.Is4() != group.Is4() || repairs == group) {
		return fmt.Errorf("repair group %s for group %s: want two multicast groups of the same family, and a port", s.Repairs, group)
	}
	if s.NodeID == 0 || s.NodeID == 0xffffffff {
		// "NORM_NODE_NONE = 0x00000000 and NORM_NODE_ANY = 0xffffffff are reserved and MUST NOT be
		// assigned to NORM participants." RFC 5740, Section 6.
		return fmt.Errorf("node id %#x is reserved", s.NodeID)
	}
	return nil
}

func (s *Session) validateWraps() error {
	if len(s.Wraps) > MaxWraps {
		return fmt.Errorf("file keys wrapped for %d groups, limit %d", len(s.Wraps), MaxWraps)
	}
	for i, w := range s.Wraps {
		if !validWrap(w.Keys) || slices.ContainsFunc(s.Wraps[:i], func(other Wrap) bool { return other.To == w.To }) {
			return fmt.Errorf("wrap of file keys for %s: %d bytes, or there twice", w.To, len(w.Keys))
		}
	}
	return nil
}

func hostOrGroup(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.Is4In6() && a.Zone() == "" && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

func (o Objects) validate(waves uint32) error {
	if n := len(o.Images); n < 1 || n > MaxImages {
		return fmt.Errorf("%d image objects, want 1 to %d", n, MaxImages)
	}
	ids := append([]uint16{o.Hashes}, o.Images...)
	for wave := range max(waves, 1) {
		ids = append(ids, o.Decision+uint16(wave))
	}
	n := len(ids)
	slices.Sort(ids)
	if len(slices.Compact(ids)) != n {
		return fmt.Errorf("two objects share a transport id")
	}
	return nil
}

func (g Segments) validate(o Objects, waves uint32) error {
	switch before := o.Hashes - 1; {
	case g.Digest == Digest{}:
		return nil
	case g.Object != before:
		return fmt.Errorf("segment hashes are object %d, want %d, before the hash list", g.Object, before)
	case slices.Contains(o.Images, before) || uint32(before-o.Decision) < max(waves, 1):
		return fmt.Errorf("object %d is of segment hashes and something else", before)
	}
	return nil
}

func (f FEC) validate() error {
	limit, ok := map[uint8]int{0: 65535, 2: 255, 5: 255, 129: 255}[f.ID] // symbols of a block, parity included
	if f.ID == 2 && f.FieldSize == 16 {
		limit = 65535
	}
	total := int(f.BlockSize) + int(f.Parity)
	switch {
	case !ok || f.Instance != 0: // instance 0 of id 129 is the one in use
		return fmt.Errorf("FEC encoding id %d, instance %d is not known", f.ID, f.Instance)
	case f.FieldSize != 0 && (f.FieldSize != 16 || f.ID != 2):
		return fmt.Errorf("field size %d for FEC encoding id %d", f.FieldSize, f.ID)
	case f.BlockSize == 0 || total > limit || f.ID == 0 && f.Parity > 0:
		return fmt.Errorf("block of %d+%d symbols for FEC encoding id %d", f.BlockSize, f.Parity, f.ID)
	case f.SegmentSize < 64 || f.SegmentSize > 65000:
		return fmt.Errorf("segment size %d, want 64 to 65000 bytes", f.SegmentSize)
	case f.FieldSize == 16 && f.SegmentSize%2 != 0:
		return fmt.Errorf("segment size %d, want an even number with field size 16", f.SegmentSize)
	case f.Dialect != DialectRFC && f.Dialect != DialectNRL:
		return fmt.Errorf("dialect %.16q, want %s or %s", f.Dialect, DialectRFC, DialectNRL)
	}
	return nil
}

func validateReport(report string) error {
	u, err := url.Parse(report)
	if err != nil || !printable(report, 512) {
		return fmt.Errorf("report address %.80q is not a URL", report)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.ContainsAny(report, "?#") {
		return fmt.Errorf("report address %.80q: want http or https, a host, and neither user, query nor fragment", report)
	}
	return nil
}

// printable reports whether s has at most limit bytes and none that could disturb a terminal or a log.
func printable(s string, limit int) bool {
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return len(s) <= limit && utf8.ValidString(s)
}
