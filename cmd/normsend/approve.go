package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// An approver is somebody who signs that a campaign may commit.
type approver struct {
	key, manifest, campaign, devices, targets, evidence string
	trust                                               []string
	wave                                                int
}

func (a *approver) register(fs *pflag.FlagSet) {
	fs.StringVar(&a.key, "key", "", "approver key `file`")
	fs.StringVar(&a.manifest, "manifest", "", "signed release `file`")
	fs.StringArrayVar(&a.trust, "trust", nil, "public release key `file` that has to have signed it; give it again for each")
	fs.StringVar(&a.devices, "devices", "", "`file` with the devices of the campaign")
	fs.IntVar(&a.wave, "wave", 1, "which wave, counted from 1")
}

func approveCommand(w cli.World) *cobra.Command {
	var a approver
	var out string
	c := &cobra.Command{
		Use:   "approve --key anna.key (--manifest fw.manifest --campaign ID (--devices FILE | --targets DIGEST) | --evidence FILE) --out FILE",
		Short: "Agree to the COMMIT of a campaign, anywhere",
		Long: `approve signs that a person agrees that one release becomes active on one list of devices, in one wave of one campaign.
It needs no server: what to give is in normsend status, and the file it writes goes to normsend commit --approval. Whether
enough have agreed is checked by each device. So the server, and whoever takes it over, cannot commit without these people.

With --trust the manifest is checked against release keys first, and with --devices the list is the one in the file.

Of a campaign of normsend serve all that is needed is in its evidence (normsend campaign evidence), and the file it writes goes
to normsend campaign approve --approval. Of that the release is checked by --trust, or is the one of --manifest, and the list
of devices is compared with --devices; the server is believed in neither.`,
		Example: `  normsend approve --key anna.key --manifest fw.manifest --trust release.pub --campaign 3f2a9c0d5e6b7a8190b2c3d4e5f60718 \
    --devices devices --out anna.approval
  normsend commit --state upgrade-3f2a9c0d5e6b7a8190b2c3d4e5f60718 --approval anna.approval`,
		Args: cli.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			approval, err := a.read()
			var signed []byte
			if err == nil {
				signed, err = a.sign(approval)
			}
			if err == nil {
				err = writeFile(out, signed)
			}
			if err != nil {
				return cli.Usage(err)
			}
			fmt.Fprintf(w.Stdout, "%s  %s\n", out, approvalText(approval))
			return nil
		},
	}
	fs := c.Flags()
	a.register(fs)
	fs.StringVar(&a.campaign, "campaign", "", "`id` of the campaign")
	fs.StringVar(&a.targets, "targets", "", "or the `digest` of their list")
	fs.StringVar(&a.evidence, "evidence", "", "`file` with the evidence of the campaign, in place of --campaign and --targets")
	fs.StringVar(&out, "out", "", "`file` to write")
	c.MarkFlagRequired("key")
	c.MarkFlagRequired("out")
	return c
}

func approvalText(a commit.Approval) string {
	return fmt.Sprintf("COMMIT of manifest %s on devices %s, campaign %v, wave %d", a.Manifest, a.Targets, a.Campaign, a.Wave+1)
}

func (a *approver) sign(approval commit.Approval) ([]byte, error) {
	key, err := manifest.LoadPrivateKey(a.key, manifest.RoleApprover)
	if err != nil {
		return nil, err
	}
	return approval.Sign(key)
}

// read returns what is to be signed, by the flags.
func (a *approver) read() (approval commit.Approval, err error) {
	if a.evidence != "" {
		if a.campaign != "" || a.targets != "" {
			return approval, errors.New("--evidence says which campaign it is of: leave out --campaign and --targets")
		}
		f, err := os.Open(a.evidence)
		if err != nil {
			return approval, err
		}
		defer f.Close()
		if approval, _, err = a.readEvidence(f); err != nil {
			err = fmt.Errorf("%s: %w", a.evidence, err)
		}
		return approval, err
	}
	if a.manifest == "" || a.campaign == "" {
		return approval, errors.New("want --manifest and --campaign, or else --evidence")
	}
	if approval.Manifest, err = a.release(); err != nil {
		return approval, fmt.Errorf("%s: %w", a.manifest, err)
	}
	if approval.Campaign, err = manifest.ParseCampaignID(a.campaign); err != nil {
		return approval, fmt.Errorf("--campaign: %w", err)
	}
	if approval.Wave, err = a.waveIndex(commit.MaxWaves); err != nil {
		return approval, err
	}
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
	return approval, err
}

// readEvidence returns what is to be signed of the campaign that evidence is of, and its devices. Who gives the evidence is
// not believed: the release is the one of --manifest, or signed by the keys of --trust, and the digest is worked out from the list.
func (a *approver) readEvidence(r io.Reader) (approval commit.Approval, targets []commit.Target, err error) {
	e, err := upgrade.OpenEvidence(r)
	if err != nil {
		return approval, nil, err
	}
	switch {
	case a.manifest == "" && len(a.trust) == 0:
		return approval, nil, errors.New("--trust or --manifest is required: what says that the release is the one you agree to")
	case a.manifest != "":
		approval.Manifest, err = a.release()
	default:
		approval.Manifest, err = a.signedRelease(e.Release)
	}
	if err != nil {
		return approval, nil, err
	}
	log := commit.NewAudit(nil, approval.Manifest, nil) // which refuses that of another release
	if err := e.ReadLog(log.Record); err != nil {
		return approval, nil, err
	}
	if approval.Wave, err = a.waveIndex(len(log.Waves())); err != nil {
		return approval, nil, err
	}
	approval.Campaign, targets = log.Campaign(), log.Targets()
	approval.Targets = commit.TargetsDigest(targets)
	if a.devices != "" {
		want, err := readTargets(a.devices)
		if err == nil {
			err = sameDevices(targets, want)
		}
		if err != nil {
			return approval, nil, fmt.Errorf("%s: %w", a.devices, err)
		}
	}
	return approval, targets, nil
}

// waveIndex returns --wave counted from 0, of so many.
func (a *approver) waveIndex(waves int) (uint32, error) {
	if a.wave < 1 || a.wave > waves {
		return 0, fmt.Errorf("--wave %d: want 1 to %d", a.wave, waves)
	}
	return uint32(a.wave - 1), nil
}

// release returns the digest of the release of --manifest, which the keys of --trust have to have signed.
func (a *approver) release() (digest manifest.Digest, err error) {
	signed, err := readManifest(a.manifest)
	if err != nil {
		return digest, err
	}
	if len(a.trust) > 0 {
		return a.signedRelease(signed)
	}
	m, _, err := manifest.OpenUnverified(signed)
	return digestOf(m), err
}

// signedRelease returns the digest of a release that the keys of --trust have signed.
func (a *approver) signedRelease(signed []byte) (digest manifest.Digest, err error) {
	keys, err := cli.LoadPublicKeys(a.trust, manifest.RoleRelease)
	if err != nil {
		return digest, err
	}
	m, err := manifest.OpenSigned(signed, manifest.Keys{Keys: keys, Threshold: len(keys)})
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
