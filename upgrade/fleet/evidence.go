package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// maxEvidence bounds how much evidence is written at once.
const maxEvidence = 16

// ErrBusy is returned when so much is under way that something has to be asked for again.
var ErrBusy = errors.New("fleet: the server is busy with that for others; try again")

// Evidence returns a function that writes the evidence of a campaign which runs or has run, as far as it is; see
// [upgrade.WriteEvidence]. It is to be called once. What it writes is in the store, so that each server has it.
func (s *Server) Evidence(ctx context.Context, id commit.CampaignID) (write func(io.Writer) error, err error) {
	c, err := s.store.Campaign(ctx, id)
	if err != nil {
		return nil, err
	}
	release, err := s.store.Release(ctx, c.Release)
	if err != nil {
		return nil, err
	}
	has, err := s.store.HasLog(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case !has:
		return nil, fmt.Errorf("%w: campaign %s has not begun", store.ErrState, id)
	}
	var announced discovery.Notice
	notice, err := s.store.FirstNotice(ctx, id)
	if err == nil && notice != nil {
		announced, err = discovery.ParseNotice(notice)
	}
	if err != nil {
		return nil, err
	}
	select {
	case s.evidence <- struct{}{}:
	default:
		return nil, ErrBusy
	}
	return func(w io.Writer) error {
		defer func() { <-s.evidence }()
		return upgrade.WriteEvidence(w, release.Signed, announced.Session, func(f func([]byte) error) error { return s.store.ReadLog(ctx, id, f) })
	}, nil
}
