package manifest

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// sessionContext binds signatures to the purpose "session description" (external_aad).
const sessionContext = "multicast-upgrade session description 1"

// wireSession is the CBOR map of a Session. Times are Unix seconds, durations
// seconds, addresses byte strings of 4 or 16 bytes.
type wireSession struct {
	Format       uint64        `cbor:"0,keyasint"`
	Campaign     []byte        `cbor:"1,keyasint"`
	Serial       uint64        `cbor:"2,keyasint"`
	Issued       int64         `cbor:"3,keyasint"`
	Expires      int64         `cbor:"4,keyasint"`
	Manifest     []byte        `cbor:"5,keyasint"`
	Targets      []byte        `cbor:"6,keyasint"`
	Target       string        `cbor:"7,keyasint,omitempty"`
	Group        []byte        `cbor:"8,keyasint"`
	Port         uint16        `cbor:"9,keyasint"`
	Source       []byte        `cbor:"10,keyasint,omitempty"`
	NodeID       uint32        `cbor:"11,keyasint"`
	Objects      wireObjects   `cbor:"12,keyasint"`
	FEC          wireFEC       `cbor:"13,keyasint"`
	Start        int64         `cbor:"14,keyasint"`
	MinRate      uint64        `cbor:"15,keyasint,omitempty"`
	VoteDeadline int64         `cbor:"16,keyasint"`
	Hold         int64         `cbor:"17,keyasint"`
	Report       string        `cbor:"18,keyasint"`
	Auth         string        `cbor:"19,keyasint,omitempty"`
	Waves        uint32        `cbor:"20,keyasint,omitempty"`
	Repairs      []byte        `cbor:"21,keyasint,omitempty"`
	RepairPort   uint16        `cbor:"22,keyasint,omitempty"`
	Segments     *wireSegments `cbor:"23,keyasint,omitempty"`
	Wraps        [][]byte      `cbor:"24,keyasint,omitempty"` // each a recipient's id, and the wrap
	SealDevices  bool          `cbor:"25,keyasint,omitempty"`
}

type wireSegments struct {
	Object uint16 `cbor:"0,keyasint"`
	Digest []byte `cbor:"1,keyasint"`
}

// repairFormat is the version of session descriptions with a repair group. A device whose program knows version 1 only would
// never hear a repair: it says so of the version, and does not begin.
const repairFormat = 2

// sealFormat is that of session descriptions with the file keys of sealed images.
const sealFormat = 3

// format is the version that a session is written in, which is the only one it may be read in.
func (s *Session) format() uint64 {
	switch {
	case len(s.Wraps) > 0 || s.SealDevices:
		return sealFormat
	case s.Repairs.IsValid():
		return repairFormat
	}
	return formatVersion
}

type wireObjects struct {
	Hashes   uint16   `cbor:"0,keyasint"`
	Images   []uint16 `cbor:"1,keyasint"`
	Decision uint16   `cbor:"2,keyasint"`
}

type wireFEC struct {
	ID          uint8   `cbor:"0,keyasint"`
	Instance    uint16  `cbor:"1,keyasint"`
	BlockSize   uint16  `cbor:"2,keyasint"`
	Parity      uint16  `cbor:"3,keyasint"`
	SegmentSize uint16  `cbor:"4,keyasint"`
	Dialect     Dialect `cbor:"5,keyasint"`
	FieldSize   uint8   `cbor:"6,keyasint,omitempty"`
}

// encode returns the bytes that are signed.
func (s *Session) encode() ([]byte, error) {
	if err := s.validate(); err != nil {
		return nil, fmt.Errorf("manifest: session: %w", err)
	}
	var wraps [][]byte
	for _, w := range s.Wraps {
		wraps = append(wraps, slices.Concat(w.To[:], w.Keys))
	}
	var segments *wireSegments
	if s.Segments.Digest != (Digest{}) {
		segments = &wireSegments{s.Segments.Object, s.Segments.Digest[:]}
	}
	return encMode.Marshal(&wireSession{
		Segments: segments,
		Format:   s.format(), Campaign: s.Campaign[:], Serial: s.Serial,
		Issued: s.Issued.Unix(), Expires: s.Expires.Unix(),
		Manifest: s.Manifest[:], Targets: s.Targets[:], Target: s.Target,
		Group: s.Group.Addr().AsSlice(), Port: s.Group.Port(), Source: s.Source.AsSlice(), NodeID: s.NodeID,
		Objects: wireObjects(s.Objects), FEC: wireFEC(s.FEC),
		Start: s.Start.Unix(), MinRate: s.MinRate, VoteDeadline: s.VoteDeadline.Unix(),
		Hold: int64(s.Hold / time.Second), Report: s.Report, Auth: s.Auth, Waves: s.Waves,
		Repairs: s.Repairs.Addr().AsSlice(), RepairPort: s.Repairs.Port(),
		Wraps: wraps, SealDevices: s.SealDevices,
	})
}

// decodeSession returns the session in a payload whose signature holds.
func decodeSession(payload []byte) (*Session, error) {
	var w wireSession
	if err := decodeExact(payload, sealFormat, &w); err != nil {
		return nil, err
	}
	if len(w.Campaign) != len(CampaignID{}) || len(w.Manifest) != len(Digest{}) || len(w.Targets) != len(Digest{}) {
		return nil, fmt.Errorf("%w: digest or campaign id of another length", ErrMalformed)
	}
	group, _ := netip.AddrFromSlice(w.Group)    // the zero address is found by validate
	source, ok := netip.AddrFromSlice(w.Source) // absent: any source
	if !ok && w.Source != nil {
		return nil, fmt.Errorf("%w: source address", ErrMalformed)
	}
	repairs, ok := netip.AddrFromSlice(w.Repairs)
	if !ok && (w.Repairs != nil || w.RepairPort != 0) {
		return nil, fmt.Errorf("%w: repair group", ErrMalformed)
	}
	s := &Session{
		Campaign: CampaignID(w.Campaign), Serial: w.Serial, Issued: moment(w.Issued), Expires: moment(w.Expires),
		Manifest: Digest(w.Manifest), Targets: Digest(w.Targets), Target: w.Target,
		Group: netip.AddrPortFrom(group, w.Port), Source: source, NodeID: w.NodeID,
		Objects: Objects(w.Objects), FEC: FEC(w.FEC),
		Start: moment(w.Start), MinRate: w.MinRate, VoteDeadline: moment(w.VoteDeadline),
		Hold: duration(w.Hold), Report: w.Report, Auth: w.Auth, Waves: w.Waves, SealDevices: w.SealDevices,
	}
	for _, b := range w.Wraps {
		if len(b) < len(KeyID{}) {
			return nil, fmt.Errorf("%w: wrap of file keys", ErrMalformed)
		}
		s.Wraps = append(s.Wraps, Wrap{KeyID(b), b[len(KeyID{}):]})
	}
	if w.Segments != nil {
		if len(w.Segments.Digest) != len(Digest{}) || Digest(w.Segments.Digest) == (Digest{}) {
			return nil, fmt.Errorf("%w: digest of segment hashes", ErrMalformed)
		}
		s.Segments = Segments{w.Segments.Object, Digest(w.Segments.Digest)}
	}
	if ok {
		s.Repairs = netip.AddrPortFrom(repairs, w.RepairPort)
	}
	if err := s.validate(); err != nil {
		return nil, fmt.Errorf("%w: session: %w", ErrMalformed, err)
	}
	if w.Format != s.format() {
		return nil, fmt.Errorf("%w: session: version %d, want %d for what it says", ErrMalformed, w.Format, s.format())
	}
	return s, nil
}
