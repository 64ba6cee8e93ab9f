package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade"
)

// Approvals are what people have to sign, who hold approver keys, before a campaign commits, and who has. They are not that
// second person's [Server.Approve], which this server alone goes by: devices check these.
type Approvals struct {
	Manifest manifest.Digest
	List     string          // digest of the targets; empty before the campaign runs, when nobody can sign yet
	Lists    []Approvers     // whose agreement is asked for, enough of each; none: nobody's is
	Waves    []WaveApprovals // of a campaign that runs or has run
}

// Approvers are people of whom so many have to sign.
type Approvers = upgrade.Approvers

// WaveApprovals are those of one wave.
type WaveApprovals struct {
	Verdict  string
	Missing  int                  // so many more have to agree, at least
	Approved []manifest.PublicKey // those who have
	Payload  []byte               // what each signs; see [commit.Approval]
}

// approversOf returns whose agreement a COMMIT of a release needs, by the release and the newest root.
func (s *Server) approversOf(m *manifest.Manifest) []manifest.Approvers {
	root := &manifest.Root{}
	if s.cfg.Roots != nil {
		root = s.cfg.Roots.Newest
	}
	return root.ApproversOf(m)
}

// Approvers returns who has to sign before a COMMIT of a release: enough of each list.
func (s *Server) Approvers(m *manifest.Manifest) (lists []Approvers) {
	for _, by := range s.approversOf(m) {
		lists = append(lists, Approvers(by))
	}
	return lists
}

// checkApprovers returns why a campaign with a release could never commit.
func (s *Server) checkApprovers(m *manifest.Manifest) error {
	if err := upgrade.CheckApprovers(s.approversOf(m)); err != nil {
		return fmt.Errorf("%w: %w", ErrSettings, err)
	}
	return nil
}

// Approvals returns whose signatures a campaign needs, and has.
func (s *Server) Approvals(ctx context.Context, id commit.CampaignID) (a Approvals, err error) {
	c, err := s.store.Campaign(ctx, id)
	if err != nil {
		return a, err
	}
	a.Manifest = c.Release
	snap, err := s.Snapshot(ctx, id)
	if err != nil {
		return a, err
	}
	if len(snap.Waves) == 0 { // it does not run yet
		release, err := s.store.Release(ctx, c.Release)
		if err != nil {
			return a, err
		}
		a.Lists = s.Approvers(release.Manifest)
		return a, nil
	}
	if a.List, a.Lists = snap.List, snap.Approvers; len(a.Lists) == 0 {
		return a, nil
	}
	list, err := manifest.ParseDigest(a.List)
	if err != nil {
		return a, err
	}
	for i, w := range snap.Waves {
		what := commit.Approval{Round: commit.Round{Campaign: id, Wave: uint32(i), Manifest: commit.Digest(c.Release)}, Targets: commit.Digest(list)}
		a.Waves = append(a.Waves, WaveApprovals{w.Verdict, w.MissingApprovals, w.Approved, what.Encode()})
	}
	return a, nil
}

// Agree takes the signed agreement of an approver to COMMIT a wave; see [commit.Coordinator.Agree]. It is durable when Agree
// returns, and goes with the decision to each device. If it was the last that is needed and nobody is to be asked besides, the
// wave commits. Actor is who brought it, and need not be the approver.
func (s *Server) Agree(ctx context.Context, id commit.CampaignID, signed []byte, actor string) error {
	err := s.act(ctx, order{Campaign: id, Action: actionAgree, Actor: actor, Approval: signed})
	if f := s.followed(id); f != nil && err == nil {
		f.view.mu.Lock()
		f.view.until = time.Time{} // who has brought it looks next
		f.view.mu.Unlock()
	}
	return err
}

const actionAgree = "campaign.agree"

// approver is what the audit trail says of an order that brings an approval: who has signed it.
func (o order) approver() json.RawMessage {
	id, ok := manifest.SignerID(o.Approval)
	if o.Action != actionAgree || !ok {
		return nil
	}
	b, _ := json.Marshal(map[string]string{"approver": id.String()}) // has no part that cannot be encoded
	return b
}
