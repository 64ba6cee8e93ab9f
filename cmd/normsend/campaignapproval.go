package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/upgrade/api/rest"
	"github.com/spf13/cobra"
)

func approveCampaignCommand(w cli.World) *cobra.Command {
	var a approver
	var approvals []string
	return remoteCommand{
		use: "approve CAMPAIGN [--key anna.key (--trust release.pub | --manifest fw.manifest) | --approval FILE]", short: "Agree with a draft of somebody else, or sign that a campaign may commit", args: oneCampaign,
		long: `approve agrees with a draft of somebody else as it is, which its policy may ask for before it starts.

With --key, or with --approval, it brings the signature of an approver: of one of those people whom the release or the root
document names, and whose signatures each device asks for before it acts on a COMMIT. With --key it is made here: the release is
checked by --trust, or is the one of --manifest, the list of devices is compared with --devices, and the server is believed in
neither. Each wave is signed for. An --approval was made elsewhere, by normsend approve.`,
		example: "campaign approve spring --key anna.key --trust release.pub --server https://192.0.2.1:8443 --token-file anna.token",
		flags: func(c *cobra.Command) {
			a.register(c.Flags())
			c.Flags().StringArrayVar(&approvals, "approval", nil, "`file` that normsend approve has written; give it again for each")
		},
		run: func(ctx context.Context, s *client, args []string) error {
			if a.key == "" && (a.manifest != "" || a.devices != "" || len(a.trust) > 0) {
				return cli.Usagef("--manifest, --trust and --devices go with --key")
			}
			c, err := findCampaign(ctx, s, args[0])
			if err != nil {
				return err
			}
			if a.key == "" && len(approvals) == 0 {
				return done(s.api.ApproveCampaign(ctx, c.Id, &rest.ApproveCampaignParams{IfMatch: etagOf(c.Revision)}))
			}
			for _, path := range approvals {
				signed, err := cli.ReadDocument(path, "an approval", commit.MaxApproval)
				if err != nil {
					return cli.Usage(err)
				}
				if err := s.addApproval(ctx, c.Id, signed); err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
				fmt.Fprintf(w.Stdout, "%s  taken\n", path)
			}
			if a.key == "" {
				return nil
			}
			return s.approve(ctx, c, a)
		},
	}.build(w)
}

func (s *client) addApproval(ctx context.Context, campaign string, signed []byte) error {
	return done(s.api.AddApprovalWithBody(ctx, campaign, nil, "application/cose", bytes.NewReader(signed)))
}

// approve signs what the evidence of a campaign says, and brings it.
func (s *client) approve(ctx context.Context, c rest.Campaign, a approver) error {
	body, err := s.evidence(ctx, c.Id)
	if err != nil {
		return err
	}
	defer body.Close()
	approval, targets, err := a.readEvidence(body)
	if err == nil && approval.Campaign.String() != c.Id {
		err = fmt.Errorf("the server gives the evidence of campaign %s", approval.Campaign)
	}
	if err != nil {
		return cli.Usage(err)
	}
	signed, err := a.sign(approval)
	if err != nil {
		return cli.Usage(err)
	}
	if err := s.addApproval(ctx, c.Id, signed); err != nil {
		return err
	}
	n := 0
	for _, t := range targets {
		if t.Wave == approval.Wave {
			n++
		}
	}
	_, err = fmt.Fprintf(s.world.Stdout, "signed: %s, which has %d of them\n", approvalText(approval), n)
	return err
}

// evidence asks for the evidence of a campaign, which is read as it comes.
func (s *client) evidence(ctx context.Context, campaign string) (io.ReadCloser, error) {
	resp, err := s.api.DownloadEvidence(ctx, campaign)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = done(resp, nil)
	}
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

func evidenceCommand(w cli.World) *cobra.Command {
	var out string
	return remoteCommand{
		use: "evidence CAMPAIGN --out FILE", short: "Download what proves to anybody what became of a campaign", args: oneCampaign,
		long: `evidence downloads the signed release, the session description, the votes and results as devices have signed them, the
approvals and the decisions. normsend audit --evidence proves by them, with keys that you give it, what became of the campaign; so does
whoever you give the file to. It holds no secrets.`,
		example: `campaign evidence spring --out spring.evidence --server https://192.0.2.1:8443 --token-file anna.token
  normsend audit --evidence spring.evidence --trust release.pub --trust-server server.pub`,
		flags: func(c *cobra.Command) {
			c.Flags().StringVar(&out, "out", "", "`file` to write")
			c.MarkFlagRequired("out")
		},
		run: func(ctx context.Context, s *client, args []string) error {
			c, err := findCampaign(ctx, s, args[0])
			if err != nil {
				return err
			}
			body, err := s.evidence(ctx, c.Id)
			if err != nil {
				return err
			}
			defer body.Close()
			f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if err != nil {
				return cli.Usage(err)
			}
			_, err = io.Copy(f, body)
			if err = errors.Join(err, f.Close()); err != nil {
				return errors.Join(fmt.Errorf("%s: %w", out, err), os.Remove(out))
			}
			return nil
		},
	}.build(w)
}

// approvalLines returns a line for each wave that lacks signatures of approvers, as pairs of what it is about and what it says.
func approvalLines(st rest.Status) (lines []any) {
	for i, w := range st.Waves {
		if w.MissingApprovals > 0 && w.Verdict == commit.Undecided.String() {
			lines = append(lines, "approvals", fmt.Sprintf("%d more needed for wave %d: normsend campaign approve %s --key KEY --trust RELEASE.pub --wave %[2]d", w.MissingApprovals, i+1, st.Campaign))
		}
	}
	return lines
}
