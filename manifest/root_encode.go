package manifest

import "fmt"

// wireRoot is the CBOR map of a Root, in the forms of wireManifest.
type wireRoot struct {
	Format    uint64   `cbor:"0,keyasint"`
	Version   uint64   `cbor:"1,keyasint"`
	Issued    int64    `cbor:"2,keyasint"`
	Expires   int64    `cbor:"3,keyasint"`
	Release   [][]byte `cbor:"4,keyasint"`
	Threshold uint64   `cbor:"5,keyasint"`
	Servers   [][]byte `cbor:"6,keyasint"`
	Approvers [][]byte `cbor:"7,keyasint,omitempty"`
	Approvals uint64   `cbor:"8,keyasint,omitempty"`
}

// encode returns the bytes that are signed.
func (r *Root) encode() ([]byte, error) {
	if err := r.validate(); err != nil {
		return nil, fmt.Errorf("manifest: root: %w", err)
	}
	return encMode.Marshal(&wireRoot{
		Format: formatVersion, Version: r.Version, Issued: r.Issued.Unix(), Expires: r.Expires.Unix(),
		Release: coseKeys(r.Release.Keys), Threshold: uint64(r.Release.Threshold),
		Servers: coseKeys(r.Servers), Approvers: coseKeys(r.Approvers), Approvals: uint64(r.Approvals),
	})
}

// decodeRoot returns the root in a payload, whose signatures are for the caller to check.
func decodeRoot(payload []byte) (*Root, error) {
	var w wireRoot
	if err := decodeExact(payload, formatVersion, &w); err != nil {
		return nil, err
	}
	r := &Root{Version: w.Version, Issued: moment(w.Issued), Expires: moment(w.Expires),
		Release:   Keys{Threshold: int(min(w.Threshold, MaxRootKeys+1))},
		Approvals: int(min(w.Approvals, MaxApprovers+1))}
	var ok1, ok2, ok3 bool
	r.Release.Keys, ok1 = publicKeysOf(w.Release, RoleRelease)
	r.Servers, ok2 = publicKeysOf(w.Servers, RoleServer)
	r.Approvers, ok3 = publicKeysOf(w.Approvers, RoleApprover)
	if !ok1 || !ok2 || !ok3 {
		return nil, fmt.Errorf("%w: root: not a key", ErrMalformed)
	}
	if err := r.validate(); err != nil {
		return nil, fmt.Errorf("%w: root: %w", ErrMalformed, err)
	}
	return r, nil
}

func coseKeys(keys []PublicKey) (all [][]byte) {
	for _, k := range keys {
		all = append(all, k.coseKey())
	}
	return all
}

// publicKeysOf reads what coseKeys wrote.
func publicKeysOf(all [][]byte, role Role) (keys []PublicKey, ok bool) {
	for _, b := range all {
		k, ok := publicKeyOf(b, role)
		if !ok {
			return nil, false
		}
		keys = append(keys, k)
	}
	return keys, true
}
