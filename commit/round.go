package commit

import (
	"encoding/hex"
	"fmt"
	"regexp"
)

// A CampaignID names a campaign: 128 random bits.
type CampaignID [16]byte

func (id CampaignID) String() string               { return hex.EncodeToString(id[:]) }
func (id CampaignID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the form of String, 32 hexadecimal digits.
func (id *CampaignID) UnmarshalText(text []byte) error {
	parsed, err := ParseCampaignID(string(text))
	*id = parsed
	return err
}

// ParseCampaignID reads the form of String, 32 hexadecimal digits.
func ParseCampaignID(s string) (id CampaignID, err error) {
	if len(s) != hex.EncodedLen(len(id)) {
		return id, fmt.Errorf("commit: campaign id %.40q: want %d hexadecimal digits", s, hex.EncodedLen(len(id)))
	}
	_, err = hex.Decode(id[:], []byte(s))
	return id, err
}

// A Digest is a SHA-256 value: of a manifest's exact bytes, of a target list, or the root of an image's Merkle tree.
type Digest [32]byte

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// A Round is one two-phase commit: a wave of a campaign that brings one manifest.
type Round struct {
	Campaign CampaignID `cbor:"1,keyasint"`
	Wave     uint32     `cbor:"2,keyasint,omitempty"`
	Manifest Digest     `cbor:"3,keyasint"` // SHA-256 of the signed manifest's bytes
}

func (r Round) String() string {
	return fmt.Sprintf("campaign %s wave %d manifest %.8s", r.Campaign, r.Wave, r.Manifest)
}

// Bounds on what a message may hold.
const (
	MaxRoots   = 256  // images of a manifest
	MaxMessage = 9216 // bytes of an encoded message, before it is signed
)

var nameFormat = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$`)

// ValidName reports whether s can name a device or a site: 1 to 64 of A-Z a-z 0-9 . _ + -, the first a letter or digit.
func ValidName(s string) bool { return nameFormat.MatchString(s) }
