package manifest

import (
	"bytes"
	"fmt"
	"math"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/multicast-upgrade/tool/merkle"
)

// formatVersion is the version of both signed documents that this package writes, but for session descriptions with a
// repair group (see sessionFormat). It reads older ones, and what it does not know it says so of.
const formatVersion = 1

// encMode writes the core deterministic encoding of RFC 8949, Section 4.2.1.
var encMode = must(cbor.CoreDetEncOptions().EncMode())

// decMode reads nothing but what encMode could have written, within limits.
// (That the encoding is the shortest is seen by encoding again: decodeExact.)
var decMode = must(decOptions.DecMode())

// headMode reads the format version out of a document that may have fields of later versions.
var headMode = must(func() cbor.DecOptions {
	o := decOptions
	o.ExtraReturnErrors = cbor.ExtraDecErrorNone
	return o
}().DecMode())

var decOptions = cbor.DecOptions{
	DupMapKey:         cbor.DupMapKeyEnforcedAPF,
	IndefLength:       cbor.IndefLengthForbidden,
	TagsMd:            cbor.TagsForbidden,
	ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	MaxNestedLevels:   4,
	MaxArrayElements:  64,
	MaxMapPairs:       32,
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // options are constants
	}
	return v
}

// decodeExact decodes a payload whose signature holds into doc, a pointer to
// a struct, and insists that the payload is the deterministic encoding of it.
func decodeExact(payload []byte, newest uint64, doc any) error {
	var head struct {
		Format uint64 `cbor:"0,keyasint"`
	}
	if err := headMode.Unmarshal(payload, &head); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if head.Format < formatVersion || head.Format > newest {
		return fmt.Errorf("%w: version %d, this program knows version %d", ErrUnsupported, head.Format, newest)
	}
	if err := decMode.Unmarshal(payload, doc); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	again, err := encMode.Marshal(doc)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !bytes.Equal(again, payload) {
		return fmt.Errorf("%w: not in deterministic encoding", ErrMalformed)
	}
	return nil
}

// wireManifest is the CBOR map of a Manifest. Times are Unix seconds,
// durations seconds, hashes byte strings, keys COSE_Keys in byte strings.
type wireManifest struct {
	Format     uint64            `cbor:"0,keyasint"`
	Critical   []string          `cbor:"1,keyasint,omitempty"`
	Product    string            `cbor:"2,keyasint"`
	Hardware   []string          `cbor:"3,keyasint"`
	Version    string            `cbor:"4,keyasint"`
	Sequence   uint64            `cbor:"5,keyasint"`
	Epoch      uint64            `cbor:"6,keyasint"`
	Created    int64             `cbor:"7,keyasint"`
	Expires    int64             `cbor:"8,keyasint"`
	NotBefore  int64             `cbor:"9,keyasint,omitempty"`
	NotAfter   int64             `cbor:"10,keyasint,omitempty"`
	MinSpread  int64             `cbor:"11,keyasint,omitempty"`
	Approvers  [][]byte          `cbor:"12,keyasint,omitempty"`
	Approvals  uint64            `cbor:"13,keyasint,omitempty"`
	Images     []wireImage       `cbor:"14,keyasint"`
	Extensions map[string][]byte `cbor:"15,keyasint,omitempty"`
}

type wireImage struct {
	Name     string `cbor:"0,keyasint"`
	Size     int64  `cbor:"1,keyasint"`
	SHA256   []byte `cbor:"2,keyasint"`
	LeafSize int64  `cbor:"3,keyasint"`
	Root     []byte `cbor:"4,keyasint"`
	Nodes    []byte `cbor:"5,keyasint"` // one after the other
}

// encode returns the bytes that are signed.
func (m *Manifest) encode() ([]byte, error) {
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	w := wireManifest{
		Format: formatVersion, Critical: m.Critical, Extensions: m.Extensions,
		Product: m.Product, Hardware: m.Hardware, Version: m.Version,
		Sequence: m.Sequence, Epoch: m.Epoch, Created: m.Created.Unix(), Expires: m.Expires.Unix(),
		NotBefore: seconds(m.Activation.NotBefore), NotAfter: seconds(m.Activation.NotAfter),
		MinSpread: int64(m.Activation.MinSpread / time.Second),
		Approvals: uint64(m.Approvals),
	}
	for _, k := range m.Approvers {
		w.Approvers = append(w.Approvers, k.coseKey())
	}
	for _, im := range m.Images {
		w.Images = append(w.Images, wireImage{
			Name: im.Name, Size: im.Size, SHA256: im.SHA256[:], LeafSize: im.LeafSize,
			Root: im.Root[:], Nodes: appendHashes(nil, im.Nodes),
		})
	}
	if err := w.putSealed(m); err != nil {
		return nil, err
	}
	return encMode.Marshal(&w)
}

// decode returns the manifest in a payload. Whoever calls it has checked the
// signatures, or says loudly that it has not.
func decode(payload []byte) (*Manifest, error) {
	var w wireManifest
	if err := decodeExact(payload, formatVersion, &w); err != nil {
		return nil, err
	}
	m := &Manifest{
		Critical: w.Critical, Extensions: w.Extensions,
		Product: w.Product, Hardware: w.Hardware, Version: w.Version,
		Sequence: w.Sequence, Epoch: w.Epoch, Created: moment(w.Created), Expires: moment(w.Expires),
		Activation: Activation{NotBefore: moment(w.NotBefore), NotAfter: moment(w.NotAfter), MinSpread: duration(w.MinSpread)},
		Approvals:  int(min(w.Approvals, MaxApprovers+1)),
	}
	for _, b := range w.Approvers {
		k, ok := publicKeyOf(b, RoleApprover)
		if !ok {
			return nil, fmt.Errorf("%w: approver key", ErrMalformed)
		}
		m.Approvers = append(m.Approvers, k)
	}
	for _, wi := range w.Images {
		im := Image{Name: wi.Name, Size: wi.Size, LeafSize: wi.LeafSize}
		nodes, ok := splitHashes(wi.Nodes)
		if !ok || len(wi.SHA256) != len(Digest{}) || len(wi.Root) != merkle.HashSize {
			return nil, fmt.Errorf("%w: hash of another length", ErrMalformed)
		}
		im.SHA256, im.Root, im.Nodes = Digest(wi.SHA256), merkle.Hash(wi.Root), nodes
		m.Images = append(m.Images, im)
	}
	if err := m.takeSealed(); err != nil {
		return nil, err
	}
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return m, nil
}

func (k PublicKey) coseKey() []byte { return []byte(coseKeyHead + k.raw) }

// publicKeyOf reads a key that coseKey wrote.
func publicKeyOf(b []byte, role Role) (PublicKey, bool) {
	raw, ok := bytes.CutPrefix(b, []byte(coseKeyHead))
	return PublicKey{role: role, alg: algEd25519, raw: string(raw)}, ok && len(raw) == 32
}

func appendHashes(b []byte, hashes []merkle.Hash) []byte {
	for i := range hashes {
		b = append(b, hashes[i][:]...)
	}
	return b
}

// splitHashes cuts b in hashes, unless something is left over.
func splitHashes(b []byte) ([]merkle.Hash, bool) {
	hashes := make([]merkle.Hash, len(b)/merkle.HashSize)
	for i := range hashes {
		b = b[copy(hashes[i][:], b):]
	}
	return hashes, len(b) == 0
}

// seconds and moment turn a time into Unix seconds and back, 0 being no time.
func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func moment(s int64) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(s, 0).UTC()
}

// duration turns seconds into a Duration, one too long into one that is not valid.
func duration(s int64) time.Duration {
	if s > int64(math.MaxInt64/time.Second) || s < 0 {
		return -1
	}
	return time.Duration(s) * time.Second
}
