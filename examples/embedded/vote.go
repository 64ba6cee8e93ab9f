package main

import (
	"fmt"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
)

// vote takes the device through the commit: READY if verify finds the image in storage, then what the server decides.
func vote(srv *server, key *manifest.PrivateKey, m *manifest.Manifest, d *manifest.Session, verify func() error) error {
	p, err := commit.OpenParticipant(time.Now(), commit.ParticipantConfig{
		Device: "router-1", Key: key, Server: srv.key.Public(), Boot: "boot-1",
		Open: func(func([]byte) error) (commit.Log, error) { return forgetful{}, nil },
	})
	if err != nil {
		return err
	}
	root := commit.Digest(m.Images[0].Root)
	round := commit.Round{Campaign: commit.CampaignID(d.Campaign), Manifest: commit.Digest(m.Digest())}
	stage := commit.Stage{Round: round, Roots: []commit.Digest{root}, Sequence: m.Sequence, Epoch: m.Epoch, Expires: m.Expires, Deadline: d.VoteDeadline}
	if err := p.Stage(time.Now(), stage); err != nil {
		return err
	}
	for !p.Finished(round) {
		// What the participant wants done. Each result is in its log before anything follows from it.
		for job, ok := p.Next(time.Now()); ok; job, ok = p.Next(time.Now()) {
			fmt.Printf("job       %s\n", job.Task)
			result := commit.Result{}
			switch job.Task {
			case commit.TaskVerify, commit.TaskCheckStage:
				if result.Roots = []commit.Digest{root}; verify() != nil {
					result = commit.Result{Reason: commit.ReasonVerifyFailed}
				}
			case commit.TaskActivate: // here the boot loader is told to use the slot
			}
			if err := p.Finish(time.Now(), job, result); err != nil {
				return err
			}
		}
		// What the server has to be told, again and again until it acknowledges, and what it has decided.
		messages, err := p.Messages()
		if err != nil {
			return err
		}
		for _, counter := range srv.receive(messages) {
			if err := p.Acknowledge(time.Now(), counter); err != nil {
				return err
			}
		}
		if decision := srv.decision(); decision != nil && !p.Finished(round) && !p.Status().Committed {
			if err := p.Decide(time.Now(), decision); err != nil {
				return err
			}
		}
	}
	fmt.Printf("outcome   %s\n", p.Status().Last.State)
	return nil
}

// A forgetful log is enough for a program that runs once. A device must survive power cuts: package commit/filestore
// has a log that does, or wrap a journal you have.
type forgetful struct{}

func (forgetful) Append(...[]byte) error { return nil }
