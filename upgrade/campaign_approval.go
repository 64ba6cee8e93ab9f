package upgrade

import (
	"context"
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
	return asked, CheckApprovers(asked)
}

// CheckApprovers returns why no COMMIT could ever have the agreement that is asked for.
func CheckApprovers(asked []manifest.Approvers) error {
	for _, by := range asked {
		if len(by.Keys) < by.Threshold {
			return fmt.Errorf("--manifest: the release asks for %d approvals, and the root names %d of its approvers", by.Threshold, len(by.Keys))
		}
	}
	return nil
}

// Agree takes the signed agreement of an approver, see [commit.Coordinator.Agree].
func (c *Campaign) Agree(ctx context.Context, signed []byte) error {
	return c.act(ctx, func(now time.Time) error { return c.coordinator.Agree(now, signed) })
}
