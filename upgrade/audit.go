package upgrade

import (
	"fmt"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/filestore"
	"github.com/multicast-upgrade/tool/manifest"
)

// AuditRelease begins the audit of a campaign that brought a signed release, for somebody who trusts the keys of one of these
// roots: the first that enough release keys of have signed it. Records of the campaign's log follow.
func AuditRelease(signed []byte, trusted ...*manifest.Root) (a *commit.Audit, by *manifest.Root, err error) {
	for _, root := range trusted {
		var m *manifest.Manifest
		if m, err = manifest.OpenSigned(signed, root.Release); err == nil {
			return commit.NewAudit(root.Servers, commit.Digest(m.Digest()), root.ApproversOf(m)), root, nil
		}
	}
	return nil, nil, fmt.Errorf("the release: %w", err)
}

// Audit holds the log of the campaign against signatures, without changing it, for somebody who trusts the keys of one of
// these roots. Only what the release, devices, approvers and the server have signed is believed; nothing else in the directory is.
func (c *Control) Audit(trusted ...*manifest.Root) (*commit.Audit, *manifest.Root, error) {
	var f frozen
	if err := readJSON(c.fs, campaignName, &f); err != nil {
		return nil, nil, err
	}
	a, by, err := AuditRelease(f.Manifest, trusted...)
	if err != nil {
		return nil, nil, err
	}
	return a, by, filestore.Read(c.fs, coordinatorLog, a.Record)
}
