package commit

import (
	"fmt"

	"github.com/multicast-upgrade/tool/manifest"
)

// What is signed names campaigns and digests alike; a [Digest] is that of a manifest's exact bytes, of a target list, or
// the root of an image's Merkle tree.
type (
	CampaignID = manifest.CampaignID
	Digest     = manifest.Digest
)

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
