package manifest

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// Inspect writes a signed manifest in lines for people, whoever signed it and
// however old it is. Each signature is checked against the keys, if one of
// them is named by it, and otherwise shown as unchecked.
func Inspect(w io.Writer, signed []byte, keys ...PublicKey) error {
	m, _, err := OpenUnverified(signed)
	if err != nil {
		return err
	}
	payload, signatures, err := splitFile(signed)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	m.describe(t)
	for _, s := range signatures {
		id, state := judge(payload, s, keys)
		fmt.Fprintf(t, "signature\t%s %s\n", id, state)
	}
	if len(signatures) == 0 {
		fmt.Fprintf(t, "signature\tnone\n")
	}
	return t.Flush()
}

func judge(payload, signature []byte, keys []PublicKey) (KeyID, string) {
	id, ok := SignerID(signature)
	if !ok {
		return id, "not readable"
	}
	for _, k := range keys {
		if k.ID() != id {
			continue
		}
		if k.verifyDetached(manifestContext, payload, signature) != nil {
			return id, "WRONG"
		}
		return id, "holds"
	}
	return id, "not checked"
}

// Describe returns the manifest in lines for people, without signatures.
func (m *Manifest) Describe() string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	m.describe(t)
	t.Flush()
	return b.String()
}

// describe writes one "name, tab, value" line for each field.
func (m *Manifest) describe(w io.Writer) {
	line := func(name string, format string, args ...any) {
		fmt.Fprintf(w, name+"\t"+format+"\n", args...)
	}
	line("product", "%s", m.Product)
	line("version", "%s", m.Version)
	line("hardware", "%s", strings.Join(m.Hardware, ", "))
	line("sequence", "%d", m.Sequence)
	line("epoch", "%d", m.Epoch)
	line("created", "%s", stamp(m.Created))
	line("expires", "%s", stamp(m.Expires))
	if a := m.Activation; a != (Activation{}) {
		line("activation", "not before %s, not after %s, spread over at least %s", stamp(a.NotBefore), stamp(a.NotAfter), a.MinSpread)
	}
	if m.Approvals > 0 {
		line("approvals", "%d of %d", m.Approvals, len(m.Approvers))
	}
	for _, k := range m.Approvers {
		line("approver", "%s", k.Fingerprint())
	}
	for _, name := range slices.Sorted(maps.Keys(m.Extensions)) {
		critical := ""
		if slices.Contains(m.Critical, name) {
			critical = ", critical"
		}
		line("extension", "%s (%d bytes%s)", name, len(m.Extensions[name]), critical)
	}
	for i := range m.Images {
		im := &m.Images[i]
		line("image", "%s, %d bytes, %d leaves of %d bytes", im.Name, im.Size, im.Leaves(), im.LeafSize)
		line("  sha256", "%s", im.SHA256)
		line("  root", "%s", im.Root)
		if s := im.Sealed; s != nil {
			line("  sealed", "plaintext of %d bytes", s.Size)
			line("  plaintext", "%s", s.SHA256)
		}
	}
	line("digest", "%s", m.Digest())
}

// Describe returns the session description in lines for people.
func (s *Session) Describe() string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	line := func(name string, format string, args ...any) {
		fmt.Fprintf(t, name+"\t"+format+"\n", args...)
	}
	line("campaign", "%s", s.Campaign)
	line("serial", "%d", s.Serial)
	line("issued", "%s", stamp(s.Issued))
	line("expires", "%s", stamp(s.Expires))
	line("manifest", "%s", s.Manifest)
	line("target", "%s (list %s)", s.Target, s.Targets)
	line("group", "%s", s.Group)
	if s.Source.IsValid() {
		line("source", "%s", s.Source)
	}
	line("node id", "%d", s.NodeID)
	if s.Segments.Digest != (Digest{}) {
		line("segment hashes", "object %d, %s", s.Segments.Object, s.Segments.Digest)
	}
	line("objects", "hashes %d, images %v, decision %d", s.Objects.Hashes, s.Objects.Images, s.Objects.Decision)
	field := "" // the usual one
	if s.FEC.FieldSize != 0 {
		field = fmt.Sprintf(", m %d", s.FEC.FieldSize)
	}
	line("fec", "id %d instance %d%s, %d+%d symbols of %d bytes, dialect %s",
		s.FEC.ID, s.FEC.Instance, field, s.FEC.BlockSize, s.FEC.Parity, s.FEC.SegmentSize, s.FEC.Dialect)
	for _, w := range s.Wraps {
		line("file keys", "for holders of %s", w.To)
	}
	if s.SealDevices {
		line("file keys", "for each device of the list that asks")
	}
	if s.Auth != "" {
		line("packets", "authenticated by %s", s.Auth)
	}
	line("start", "%s", stamp(s.Start))
	line("min rate", "%d bit/s", s.MinRate)
	line("vote deadline", "%s", stamp(s.VoteDeadline))
	line("hold", "%s", s.Hold)
	line("report to", "%s", s.Report)
	t.Flush()
	return b.String()
}
