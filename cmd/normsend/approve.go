package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/spf13/cobra"
)

// An approver is one run of normsend approve.
type approver struct {
	key, manifest, campaign, devices, targets, out string
	trust                                          []string
	wave                                           int
}

func approveCommand(w cli.World) *cobra.Command {
	var a approver
	c := &cobra.Command{
		Use:   "approve --key anna.key --manifest fw.manifest --campaign ID (--devices FILE | --targets DIGEST) --out FILE",
		Short: "Agree to the COMMIT of a campaign, anywhere",
		Long: `approve signs that a person agrees that one release becomes active on one list of devices, in one wave of one campaign.
It needs no server: what to give is in normsend status, and the file it writes goes to normsend commit --approval. Whether
enough have agreed is checked by each device. So the server, and whoever takes it over, cannot commit without these people.

With --trust the manifest is checked against release keys first, and with --devices the list is the one in the file.`,
		Example: `  normsend approve --key anna.key --manifest fw.manifest --trust release.pub --campaign 3f2a9c0d5e6b7a8190b2c3d4e5f60718 \
    --devices devices --out anna.approval
  normsend commit --state upgrade-3f2a9c0d5e6b7a8190b2c3d4e5f60718 --approval anna.approval`,
		Args: cli.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			approval, signed, err := a.sign()
			if err == nil {
				err = writeFile(a.out, signed)
			}
			if err != nil {
				return cli.Usage(err)
			}
			fmt.Fprintf(w.Stdout, "%s  COMMIT of manifest %s on devices %s, campaign %v, wave %d\n", a.out, approval.Manifest, approval.Targets,
				approval.Campaign, approval.Wave+1)
			return nil
		},
	}
	fs := c.Flags()
	fs.StringVar(&a.key, "key", "", "approver key `file`")
	fs.StringVar(&a.manifest, "manifest", "", "signed release `file`")
	fs.StringArrayVar(&a.trust, "trust", nil, "public release key `file` that has to have signed it; give it again for each")
	fs.StringVar(&a.campaign, "campaign", "", "`id` of the campaign")
	fs.StringVar(&a.devices, "devices", "", "`file` with the devices of the campaign")
	fs.StringVar(&a.targets, "targets", "", "or the `digest` of their list")
	fs.IntVar(&a.wave, "wave", 1, "which wave, counted from 1")
	fs.StringVar(&a.out, "out", "", "`file` to write")
	for _, name := range []string{"key", "manifest", "campaign", "out"} {
		c.MarkFlagRequired(name)
	}
	return c
}

func (a *approver) sign() (approval commit.Approval, signed []byte, err error) {
	key, err := manifest.LoadPrivateKey(a.key, manifest.RoleApprover)
	if err != nil {
		return approval, nil, err
	}
	if approval.Manifest, err = a.release(); err != nil {
		return approval, nil, fmt.Errorf("%s: %w", a.manifest, err)
	}
	if approval.Campaign, err = manifest.ParseCampaignID(a.campaign); err != nil {
		return approval, nil, fmt.Errorf("--campaign: %w", err)
	}
	if a.wave < 1 || a.wave > commit.MaxWaves {
		return approval, nil, fmt.Errorf("--wave %d: want 1 to %d", a.wave, commit.MaxWaves)
	}
	approval.Wave = uint32(a.wave - 1)
	switch {
	case (a.devices == "") == (a.targets == ""):
		err = errors.New("want either --devices FILE or --targets DIGEST")
	case a.devices != "":
		var targets []commit.Target
		targets, err = readTargets(a.devices)
		approval.Targets = commit.TargetsDigest(targets)
	default:
		approval.Targets, err = manifest.ParseDigest(a.targets)
	}
	if err != nil {
		return approval, nil, err
	}
	signed, err = approval.Sign(key)
	return approval, signed, err
}

// release returns the digest of the release, which the keys of --trust have to have signed.
func (a *approver) release() (digest manifest.Digest, err error) {
	signed, err := readManifest(a.manifest)
	if err != nil {
		return digest, err
	}
	m, _, err := manifest.OpenUnverified(signed)
	if err != nil || len(a.trust) == 0 {
		return digestOf(m), err
	}
	keys, err := cli.LoadPublicKeys(a.trust, manifest.RoleRelease)
	if err != nil {
		return digest, err
	}
	m, err = manifest.OpenSigned(signed, manifest.Keys{Keys: keys, Threshold: len(keys)})
	return digestOf(m), err
}

func digestOf(m *manifest.Manifest) (digest manifest.Digest) {
	if m != nil {
		digest = m.Digest()
	}
	return digest
}

func commitCommand(w cli.World) *cobra.Command {
	var approvals []string
	c := controlCommand(w, "commit", "Approve the COMMIT of a campaign",
		`commit lets a campaign that has asked for it commit. It is refused while the policy is not met, and while approvers that the
release or the root document names have not agreed. Their agreement (normsend approve) is given by --approval, all at once or
one after the other: what the campaign has taken it keeps.`,
		func(ctx context.Context, control *upgrade.Control) error {
			for _, path := range approvals {
				if err := agree(ctx, control, path); err != nil {
					return err
				}
				fmt.Fprintf(w.Stdout, "%s  taken\n", path)
			}
			err := control.Commit(ctx)
			if errors.Is(err, commit.ErrDecided) && len(approvals) > 0 {
				// With --commit auto the last approval decides.
				if s, statusErr := control.Status(ctx); statusErr == nil && slices.ContainsFunc(s.Waves, func(w upgrade.WaveState) bool { return w.Verdict == commit.Commit.String() }) {
					err = nil
				}
			}
			if err == nil {
				fmt.Fprintln(w.Stdout, "approved: the campaign commits")
			}
			return err
		})
	c.Flags().StringArrayVar(&approvals, "approval", nil, "`file` with the agreement of an approver; give it again for each")
	return c
}

// agree gives the campaign a signed approval.
func agree(ctx context.Context, control *upgrade.Control, path string) error {
	signed, err := cli.ReadDocument(path, "an approval", commit.MaxApproval)
	if err != nil {
		return cli.Usage(err)
	}
	if err := control.Agree(ctx, signed); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
