package manifest

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// rootContext binds signatures to the purpose "root document" (external_aad).
const rootContext = "multicast-upgrade root 1"

// rootFile is the file format of releases under another name.
var rootFile = fileKind{"root", "\x83\x76multicast-upgrade root", MaxRoot, rootContext}

// Sign returns the signed root with a signature of each key. Keys must be different and have RoleRelease: those of the root
// before it, and its own.
func (r *Root) Sign(keys ...*PrivateKey) ([]byte, error) {
	payload, err := r.encode()
	if err != nil {
		return nil, err
	}
	return rootFile.sign(payload, keys, AddRootSignature)
}

// AddRootSignature is [AddSignature] for a root.
func AddRootSignature(signed []byte, key *PrivateKey) ([]byte, error) {
	return rootFile.add(signed, key, func(payload []byte) error { _, err := decodeRoot(payload); return err })
}

func splitRoot(signed []byte) (payload []byte, signatures [][]byte, err error) {
	return rootFile.split(signed)
}

// InspectRoot writes a signed root in lines for people. Each signature is checked against the root's own keys and those of
// the root before it, if that is given.
func InspectRoot(w io.Writer, signed []byte, before *Root) error {
	r, _, err := OpenRootUnverified(signed)
	if err != nil {
		return err
	}
	payload, signatures, err := splitRoot(signed)
	if err != nil {
		return err
	}
	keys := r.Release.Keys
	if before != nil {
		keys = append(keys, before.Release.Keys...)
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	line := func(name string, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	line("root", "version %d", r.Version)
	line("issued", "%s", stamp(r.Issued))
	line("expires", "%s", stamp(r.Expires))
	line("releases", "%d of %d keys have to sign", r.Release.Threshold, len(r.Release.Keys))
	for _, k := range r.Release.Keys {
		line("  release key", "%s %s", k.ID(), k.Fingerprint())
	}
	for _, k := range r.Servers {
		line("server key", "%s %s", k.ID(), k.Fingerprint())
	}
	if r.Approvals > 0 {
		line("approvals", "%d of %d, for every release", r.Approvals, len(r.Approvers))
	}
	for _, k := range r.Approvers {
		line("  approver", "%s %s", k.ID(), k.Fingerprint())
	}
	judgeAll(t, rootContext, payload, signatures, keys)
	return t.Flush()
}
