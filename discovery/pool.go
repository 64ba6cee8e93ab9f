package discovery

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/multicast-upgrade/tool/discovery/sap"
	"github.com/multicast-upgrade/tool/norm/udp"
)

// A Pool is the groups that campaigns may use, such as 239.192.0.0/14 or ff15::/112.
type Pool struct {
	prefix netip.Prefix
	ssm    bool
}

// NewPool returns the pool of the groups of a prefix. A source-specific one has groups for source-specific multicast only,
// another one has none of them. The error is one line for the operator who chose the prefix.
func NewPool(prefix netip.Prefix, sourceSpecific bool) (Pool, error) {
	p := Pool{prefix.Masked(), sourceSpecific}
	first, last := p.prefix.Addr(), p.last()
	switch {
	case !prefix.IsValid() || !first.IsMulticast() || !last.IsMulticast():
		return p, fmt.Errorf("pool %v: want multicast groups, such as 239.192.0.0/14 or ff15::/112", prefix)
	case first.Is6() && prefix.Bits() < 16:
		return p, fmt.Errorf("pool %v has groups of several scopes; want one, such as ff15::/112", prefix)
	}
	if _, err := p.Pick(rand.New(rand.NewPCG(0, 0)), nil); err != nil {
		return p, fmt.Errorf("pool %v has no group that a campaign could use", prefix)
	}
	return p, nil
}

// String returns the prefix.
func (p Pool) String() string { return p.prefix.String() }

// ErrPoolFull: there is no free group, or none where Pick looked.
var ErrPoolFull = errors.New("discovery: no free group in the pool")

// maxTries is how many groups Pick looks at.
const maxTries = 1 << 16

// Pick returns a group that may be used and that taken does not name: by other campaigns, or by what [sap.Listener.Uses]
// has heard. It goes through the pool in a random order, so that servers which do not know of each other rarely pick the
// same. In a pool of up to 65,536 groups it finds the last free one. If taken is nil, all are free.
func (p Pool) Pick(rng *rand.Rand, taken func(netip.Addr) bool) (netip.Addr, error) {
	size := uint64(1) << min(63, p.hostBits()) // a pool of more is as good as one of these
	// A linear congruential generator of this kind comes by every offset once: the multiplier less one is divisible by four,
	// and the increment odd (Hull and Dobell).
	offset, multiplier, increment := rng.Uint64()&(size-1), rng.Uint64()&^3|1, rng.Uint64()|1
	for range min(size, maxTries) {
		if a := p.at(offset); p.usable(a) && (taken == nil || !taken(a)) {
			return a, nil
		}
		offset = (offset*multiplier + increment) & (size - 1)
	}
	return netip.Addr{}, fmt.Errorf("%w %v", ErrPoolFull, p.prefix)
}

func (p Pool) hostBits() int { return p.prefix.Addr().BitLen() - p.prefix.Bits() }

// at returns the group so far from the first.
func (p Pool) at(offset uint64) netip.Addr {
	if a := p.prefix.Addr(); a.Is4() {
		b := a.As4()
		return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(b[:])+uint32(offset))))
	}
	b := p.prefix.Addr().As16()
	binary.BigEndian.PutUint64(b[8:], binary.BigEndian.Uint64(b[8:])+offset)
	return netip.AddrFrom16(b)
}

func (p Pool) last() netip.Addr {
	if !p.prefix.IsValid() {
		return netip.Addr{}
	}
	b := p.prefix.Addr().AsSlice()
	for i := p.prefix.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// usable reports whether a campaign may use a group of the pool.
func (p Pool) usable(a netip.Addr) bool {
	if !p.prefix.Contains(a) || udp.IsSourceSpecific(a) != p.ssm || isSAPGroup(a) {
		return false
	}
	if a.Is4() {
		b := a.As4()
		// Ethernet has the low 23 bits of the group only (RFC 1112, Section 6.4): 239.128.0.5 comes with 224.0.0.5, which
		// switches flood to all ports (RFC 4541, Section 2.1.2), and so does 224.0.0.0/24 itself.
		return b[1]&0x7f != 0 || b[2] != 0
	}
	b := a.As16()
	low := binary.BigEndian.Uint32(b[12:])
	if p.ssm {
		// "Addresses in the range FF3x::8000:0000 through FF3x::FFFF:FFFF are allowed for dynamic allocation by a host" (RFC
		// 4607, Section 1).
		return low >= 0x80000000 && low>>24 != 0xff
	}
	// Ethernet has the low 32 bits (RFC 2464, Section 7): those of all nodes, of all routers and others of the first 256,
	// and of the solicited-node groups (ff02::1:ffXX:XXXX) are flooded.
	return low > 0xff && low>>24 != 0xff
}

func isSAPGroup(a netip.Addr) bool {
	group, err := sap.Group(a)
	return err == nil && group.Addr() == a
}
