package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"fmt"
	"time"
)

// A Config says how the packets of a session are authenticated. All nodes must agree on what of it goes on the wire:
// the keys, MACBits and ASID, which RFC 6584, Sections 3.2, 4.2 and 5.2 have communicated before the session starts.
type Config struct {
	// Key is the group key, a secret of all members: at least as long as the MAC, and best 32 random bytes. If nil,
	// feedback is not authenticated, and the sender's packets by signature alone.
	Key []byte
	// MACBits is n_m, to how many bits the group MAC is truncated: 128 to 256 in steps of 32, so that it is "not less than
	// half the length of the hash and not less than 80 bits" (RFC 6584, Section 5.3.1) and needs no padding. If zero, 128.
	// Beside a signature the MAC of the sender's packets has 32 bits, the default of Section 6.3.1, whatever this says.
	MACBits int

	// Signer makes a sender sign its packets; Public is what receivers verify them with, and the sender its own echo. Both
	// are of the curve P-256. A signature and its verification take some ten microseconds each, so rates are low.
	Signer *ecdsa.PrivateKey
	Public *ecdsa.PublicKey // if nil, that of Signer

	// ASID is the authentication scheme identifier of the sender's packets, 1 to 15; if zero, 1. Feedback has the same if
	// the scheme is the group MAC for both, and else the next one: "the ASID to scheme association" is by session.
	ASID uint8

	// MaxNodes bounds of how many nodes replay windows are kept in each direction; beyond it those longest silent are
	// forgotten. About 200 bytes each. If zero, 4096.
	MaxNodes int
	// Forget is how long a node must have been silent to be forgotten: between one and two times this. If zero, 1 h.
	Forget time.Duration
	// MaxFailures is how many packets a second may fail the check in each direction before checks are limited (RFC 6584,
	// Section 7.1). If zero, 10,000 where the MAC is checked first, 200 where a signature is all there is.
	MaxFailures int
}

const (
	defaultMACBits  = 128
	preCheckBits    = 32 // beside a signature: Section 6.3.1
	leastMACBits    = 128
	mostMACBits     = 256
	defaultMaxNodes = 4096
	defaultForget   = time.Hour
)

// resolve returns a copy of c with the defaults filled in, or says which field cannot work.
func (c Config) resolve() (Config, error) {
	if c.MACBits == 0 {
		c.MACBits = defaultMACBits
	}
	if c.ASID == 0 {
		c.ASID = 1
	}
	if c.MaxNodes == 0 {
		c.MaxNodes = defaultMaxNodes
	}
	if c.Forget == 0 {
		c.Forget = defaultForget
	}
	if c.Public == nil && c.Signer != nil {
		c.Public = &c.Signer.PublicKey
	}
	switch {
	case c.Key == nil && c.Public == nil:
		return c, fmt.Errorf("norm: Auth: want a Key, or a Signer or Public")
	case c.MACBits < leastMACBits || c.MACBits > mostMACBits || c.MACBits%32 != 0:
		return c, fmt.Errorf("norm: Auth: MACBits %d: want 128 to 256 in steps of 32", c.MACBits)
	case c.Key != nil && 8*len(c.Key) < c.MACBits:
		// "Of course, n_m MUST be less than or equal to the key length": Section 5.2.
		return c, fmt.Errorf("norm: Auth: Key of %d bytes: want at least the %d of the MAC", len(c.Key), c.MACBits/8)
	case c.Public != nil && c.Public.Curve != elliptic.P256():
		return c, fmt.Errorf("norm: Auth: Public: want a key of the curve P-256")
	case c.Signer != nil && !c.Signer.PublicKey.Equal(c.Public):
		return c, fmt.Errorf("norm: Auth: Signer and Public do not belong together")
	case c.ASID > 15:
		return c, fmt.Errorf("norm: Auth: ASID %d: want 1 to 15", c.ASID)
	case c.MaxNodes < 1:
		return c, fmt.Errorf("norm: Auth: MaxNodes %d: want at least 1", c.MaxNodes)
	case c.Forget < 0:
		return c, fmt.Errorf("norm: Auth: Forget %v: want a time", c.Forget)
	case c.MaxFailures < 0:
		return c, fmt.Errorf("norm: Auth: MaxFailures %d: want packets a second", c.MaxFailures)
	}
	return c, nil
}

// SenderOverhead returns how many bytes EXT_AUTH adds to each packet of a sender; 0 if c is nil.
func (c *Config) SenderOverhead() int {
	switch {
	case c == nil:
		return 0
	case c.Signer == nil && c.Public == nil:
		bits := c.MACBits
		if bits == 0 {
			bits = defaultMACBits
		}
		return fixedSize + bits/8
	case c.Key == nil:
		return fixedSize + signatureSize
	}
	return fixedSize + signatureSize + preCheckBits/8
}
