package upgrade

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
)

// approvers returns whose agreement a COMMIT needs, by the release and the newest root.
func (c *Campaign) approvers() ([]manifest.Approvers, error) {
	root := &manifest.Root{}
	if c.cfg.Roots != nil {
		root = c.cfg.Roots.Newest
	}
	asked := root.ApproversOf(c.release.manifest)
	if len(asked) > 0 && c.cfg.Shared != nil {
		return nil, errors.New("the release, or the root document, asks for the signatures of approvers, which a fleet server does not collect: use normsend upgrade")
	}
	for _, by := range asked {
		if len(by.Keys) < by.Threshold {
			return nil, fmt.Errorf("--manifest: the release asks for %d approvals, and the root names %d of its approvers", by.Threshold, len(by.Keys))
		}
	}
	return asked, nil
}

// Agree takes the signed agreement of an approver, see [commit.Coordinator.Agree].
func (c *Campaign) Agree(ctx context.Context, signed []byte) error {
	return c.act(ctx, func(now time.Time) error { return c.coordinator.Agree(now, signed) })
}
