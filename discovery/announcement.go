package discovery

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/discovery/sdp"
	"github.com/multicast-upgrade/tool/manifest"
)

// An Announcement is what the session description of a campaign says by SDP: how its NORM session is received, and where
// the two signed documents are that say so in earnest. Anybody can make one. It is a hint to ask the server, and no more.
//
// In SDP a campaign is one medium, `m=application PORT udp octet-stream`. RFC 8866 has "udp: denotes that the data is
// transported directly in UDP with no additional framing", with a media type as format; for NORM neither a protocol name nor
// a media type is registered. The attributes are, of the session:
//
//	a=source-filter: incl IN IP4 GROUP SOURCE          source-specific multicast (RFC 4570)
//	a=upgrade-campaign:ID SERIAL                       ID in hexadecimal
//	a=upgrade-session:sha-256 DIGEST                   of the signed bytes of the session description
//	a=upgrade-manifest:sha-256 DIGEST                  of the signed bytes of the manifest
//	a=upgrade-server:FINGERPRINT                       of the key that the session description is signed with
//	a=upgrade-rendezvous:URL                           where both are
//
// and of the medium:
//
//	a=norm-node:ID                                     NormNodeId of the sender
//	a=norm-fec:ID INSTANCE SEGMENT BLOCK PARITY M DIALECT
//	a=norm-gsize:N                                     how many receive, about
type Announcement struct {
	Title     string // for people
	Campaign  manifest.CampaignID
	Serial    uint64
	Session   manifest.Digest // of the session description: see [manifest.Session.Digest]
	Manifest  manifest.Digest
	Key       string // fingerprint of the server key
	Server    string // URL of the rendezvous, for people: a device asks the one it was configured with
	Group     netip.AddrPort
	TTL       uint8
	Source    netip.Addr // source-specific; zero: any
	NodeID    uint32
	FEC       manifest.FEC
	GroupSize uint32
	Start     time.Time
	Stop      time.Time
}

// NewAnnouncement returns what is to be announced of a session, which key has signed.
func NewAnnouncement(s *manifest.Session, key manifest.PublicKey, title string) Announcement {
	return Announcement{
		Title: title, Campaign: s.Campaign, Serial: s.Serial, Session: s.Digest(), Manifest: s.Manifest, Key: key.Fingerprint(), Server: s.Report,
		Group: s.Group, Source: s.Source, NodeID: s.NodeID, FEC: s.FEC, Start: s.Start, Stop: s.Expires,
	}
}

// ErrNoCampaign: a session description is not that of a campaign.
var ErrNoCampaign = errors.New("discovery: no campaign is announced")

// The names of the attributes.
const (
	attrCampaign   = "upgrade-campaign"
	attrSession    = "upgrade-session"
	attrManifest   = "upgrade-manifest"
	attrServer     = "upgrade-server"
	attrRendezvous = "upgrade-rendezvous"
	attrNode       = "norm-node"
	attrFEC        = "norm-fec"
	attrGroupSize  = "norm-gsize"

	mediaType   = "application"
	mediaProto  = "udp"
	mediaFormat = "octet-stream"
	sha256Name  = "sha-256 "
)

// Describe returns the announcement in SDP, as made by host. The session is known by the campaign, its version by the
// serial.
func (a *Announcement) Describe(host netip.Addr) *sdp.Description {
	d := &sdp.Description{
		Origin:     sdp.OriginAt(host, binary.BigEndian.Uint64(a.Campaign[:])>>1, a.Serial),
		Name:       a.Title,
		Connection: sdp.Connection{Addr: a.Group.Addr(), TTL: a.TTL},
		Start:      a.Start, Stop: a.Stop,
	}
	if a.Source.IsValid() {
		d.Attributes = append(d.Attributes, sdp.SourceFilter{Dest: a.Group.Addr(), Sources: []netip.Addr{a.Source}}.Attribute())
	}
	d.Attributes = append(d.Attributes,
		sdp.Attribute{Name: attrCampaign, Value: fmt.Sprintf("%s %d", a.Campaign, a.Serial)},
		sdp.Attribute{Name: attrSession, Value: sha256Name + a.Session.String()},
		sdp.Attribute{Name: attrManifest, Value: sha256Name + a.Manifest.String()},
		sdp.Attribute{Name: attrServer, Value: a.Key},
		sdp.Attribute{Name: attrRendezvous, Value: a.Server})
	f := a.FEC
	d.Media = []sdp.Media{{Type: mediaType, Port: a.Group.Port(), Proto: mediaProto, Formats: []string{mediaFormat}, Attributes: []sdp.Attribute{
		{Name: attrNode, Value: strconv.FormatUint(uint64(a.NodeID), 10)},
		{Name: attrFEC, Value: fmt.Sprintf("%d %d %d %d %d %d %s", f.ID, f.Instance, f.SegmentSize, f.BlockSize, f.Parity, f.FieldSize, f.Dialect)},
		{Name: attrGroupSize, Value: strconv.FormatUint(uint64(a.GroupSize), 10)},
	}}}
	return d
}

// ParseAnnouncement returns what a session description says of a campaign. The error wraps ErrNoCampaign.
func ParseAnnouncement(d *sdp.Description) (a Announcement, err error) {
	if sdp.Value(d.Attributes, attrCampaign) == "" || len(d.Media) != 1 {
		return a, ErrNoCampaign
	}
	m := &d.Media[0]
	if m.Type != mediaType || !strings.EqualFold(m.Proto, mediaProto) {
		return a, fmt.Errorf("%w: medium %s %s", ErrNoCampaign, m.Type, m.Proto)
	}
	c := d.ConnectionOf(m)
	a = Announcement{Title: d.Name, Group: netip.AddrPortFrom(c.Addr, m.Port), TTL: c.TTL, Start: d.Start, Stop: d.Stop,
		Key: sdp.Value(d.Attributes, attrServer), Server: sdp.Value(d.Attributes, attrRendezvous)}
	if f, ok := d.FilterOf(m); ok {
		if f.Exclude || len(f.Sources) != 1 {
			return a, fmt.Errorf("%w: more than one source", ErrNoCampaign)
		}
		a.Source = f.Sources[0]
	}
	for _, step := range []struct {
		name string
		in   []sdp.Attribute
		read func(words []string) error
	}{
		{attrCampaign, d.Attributes, a.readCampaign},
		{attrSession, d.Attributes, func(w []string) error { return readDigest(w, &a.Session) }},
		{attrManifest, d.Attributes, func(w []string) error { return readDigest(w, &a.Manifest) }},
		{attrNode, m.Attributes, func(w []string) error { return readNumbers(w, &a.NodeID) }},
		{attrFEC, m.Attributes, a.readFEC},
		{attrGroupSize, m.Attributes, func(w []string) error { return readNumbers(w, &a.GroupSize) }},
	} {
		if err := step.read(strings.Split(sdp.Value(step.in, step.name), " ")); err != nil {
			return a, fmt.Errorf("%w: a=%s: %w", ErrNoCampaign, step.name, err)
		}
	}
	return a, nil
}

func (a *Announcement) readCampaign(w []string) (err error) {
	if len(w) != 2 {
		return errors.New("want an id and a serial")
	}
	if a.Campaign, err = manifest.ParseCampaignID(w[0]); err != nil {
		return err
	}
	return readNumbers(w[1:], &a.Serial)
}

func (a *Announcement) readFEC(w []string) error {
	if len(w) != 7 {
		return errors.New("want six numbers and a dialect")
	}
	f := &a.FEC
	f.Dialect = manifest.Dialect(w[6])
	if err := readNumbers(w[:1], &f.ID); err != nil {
		return err
	}
	if err := readNumbers(w[1:5], &f.Instance, &f.SegmentSize, &f.BlockSize, &f.Parity); err != nil {
		return err
	}
	return readNumbers(w[5:6], &f.FieldSize)
}

func readDigest(w []string, d *manifest.Digest) error {
	if len(w) != 2 || w[0]+" " != sha256Name || len(w[1]) != 2*len(d) {
		return errors.New("want sha-256 and a digest")
	}
	_, err := hex.Decode(d[:], []byte(w[1]))
	return err
}

// readNumbers reads a decimal number for each of the targets.
func readNumbers[N uint8 | uint16 | uint32 | uint64](w []string, to ...*N) error {
	if len(w) != len(to) {
		return fmt.Errorf("want %d numbers", len(to))
	}
	for i, s := range w {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil || uint64(N(n)) != n {
			return fmt.Errorf("%.20q is no number, or too large", s)
		}
		*to[i] = N(n)
	}
	return nil
}
