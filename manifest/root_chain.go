package manifest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// A RootChain is what a server offers of root documents: each follows the one before, so that a device which has seen any of
// them can walk to the newest.
type RootChain struct {
	Newest *Root
	Signed map[uint64][]byte // the documents by their versions; not to be changed
}

// OpenRootChain puts signed roots in order and checks that each follows the one before. The first need not be version 1:
// devices that are older than it cannot follow.
func OpenRootChain(documents ...[]byte) (*RootChain, error) {
	if len(documents) == 0 {
		return nil, errors.New("manifest: no root document")
	}
	type version struct {
		number uint64
		signed []byte
	}
	var all []version
	for _, signed := range documents {
		r, _, err := OpenRootUnverified(signed)
		if err != nil {
			return nil, err
		}
		all = append(all, version{r.Version, signed})
	}
	slices.SortFunc(all, func(a, b version) int { return cmp.Compare(a.number, b.number) })
	first, err := OpenRoot(all[0].signed)
	if err != nil {
		return nil, fmt.Errorf("root %d: %w", all[0].number, err)
	}
	chain := &RootChain{Newest: first, Signed: map[uint64][]byte{first.Version: all[0].signed}}
	for _, v := range all[1:] {
		switch {
		case v.number == chain.Newest.Version:
			return nil, fmt.Errorf("root %d is there twice", v.number)
		case v.number > chain.Newest.Version+1:
			return nil, fmt.Errorf("root %d is missing: devices need each of them to follow", chain.Newest.Version+1)
		}
		if chain.Newest, err = chain.Newest.Next(v.signed); err != nil {
			return nil, fmt.Errorf("root %d: %w", v.number, err)
		}
		chain.Signed[v.number] = v.signed
	}
	return chain, nil
}

// Last returns the newest document, nil if there is no chain.
func (c *RootChain) Last() []byte {
	if c == nil {
		return nil
	}
	return c.Signed[c.Newest.Version]
}

// NamesServer returns why devices that follow the chain would not listen to a server with this key: see [Root.Servers].
func (c *RootChain) NamesServer(key PublicKey) error {
	if !slices.Contains(c.Newest.Servers, key) {
		return fmt.Errorf("root %d does not name the server key %s: devices that follow it would not believe this server", c.Newest.Version, key.Fingerprint())
	}
	return nil
}
