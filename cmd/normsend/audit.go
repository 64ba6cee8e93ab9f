package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/store"
	"github.com/spf13/cobra"
)

// An auditor is one run of normsend audit.
type auditor struct {
	world                cli.World
	state, db, campaign  string
	evidence             string
	roots, trust, server []string
	threshold            int
	devices              string
}

func auditCommand(w cli.World) *cobra.Command {
	a := auditor{world: w}
	c := &cobra.Command{
		Use:   "audit (--state DIR | --evidence FILE | --db DATABASE --campaign ID) (--root FILE… | --trust FILE… --trust-server FILE) [--devices FILE]",
		Short: "Prove what became of a campaign, by signatures alone",
		Long: `audit reads what a server has kept of a campaign, and holds it against signatures: the release against release keys, each
READY and each result against the key of its device, decisions against the server key, and the agreement of approvers against
what the release and the root document ask for. It trusts the keys that it is given, and neither the server nor its log. The
list of devices is bound by the decision; with --devices it is compared with yours as well.

A campaign may be older than the newest root: give each root, one of them has to hold.

Exit status: 0 all that was signed holds, 1 it does not, or something that was decided was never signed.`,
		Example: `  normsend audit --state upgrade-3f2a9c0d5e6b7a8190b2c3d4e5f60718 --root root.1 --root root.2 --devices devices`,
		Args:    cli.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return a.run(c.Context()) },
	}
	fs := c.Flags()
	fs.StringVar(&a.state, "state", "", "`directory` of a campaign of normsend upgrade")
	fs.StringVar(&a.evidence, "evidence", "", "or a `file` that a server gave: normsend campaign evidence")
	fs.StringVar(&a.db, "db", "", "or the database of normsend serve: sqlite:`FILE` or postgres://USER@HOST/DATABASE")
	fs.StringVar(&a.campaign, "campaign", "", "and the `id` of the campaign in it")
	fs.StringArrayVar(&a.roots, "root", nil, "root document `file` whose keys to trust; give it again for each version")
	fs.StringArrayVar(&a.trust, "trust", nil, "public release key `file`; give it again for each")
	fs.IntVar(&a.threshold, "trust-threshold", 0, "how many of them have to have signed; default: all")
	fs.StringArrayVar(&a.server, "trust-server", nil, "public server key `file`")
	fs.StringVar(&a.devices, "devices", "", "`file` with the devices that the campaign should have had")
	return c
}

func (a *auditor) run(ctx context.Context) error {
	trusted, err := a.trusted()
	if err != nil {
		return cli.Usage(err)
	}
	audit, by, err := a.read(ctx, trusted)
	switch {
	case audit == nil && errors.Is(err, manifest.ErrSignature):
		return err // that is what was to be found out
	case audit == nil:
		return cli.Usage(err)
	case err != nil:
		return fmt.Errorf("not all of it can be read: %w", err)
	}
	a.print(audit, by)
	if a.devices != "" {
		want, err := readTargets(a.devices)
		if err != nil {
			return cli.Usage(err)
		}
		if err := sameDevices(audit.Targets(), want); err != nil {
			return fmt.Errorf("%s: %w", a.devices, err)
		}
	}
	if !audit.Holds() {
		return errors.New("not all of it holds: see WRONG above")
	}
	return nil
}

// trusted returns whose keys count, each root by itself.
func (a *auditor) trusted() (all []*manifest.Root, err error) {
	keys := len(a.trust) > 0 || len(a.server) > 0 || a.threshold != 0
	if (len(a.roots) > 0) == keys || keys && (len(a.trust) == 0 || len(a.server) == 0) {
		return nil, errors.New("want --root, or else --trust and --trust-server")
	}
	for _, path := range a.roots {
		r, err := openRootFile(path)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	if !keys {
		return all, nil
	}
	r := &manifest.Root{}
	if r.Release.Keys, err = cli.LoadPublicKeys(a.trust, manifest.RoleRelease); err != nil {
		return nil, err
	}
	if r.Release.Threshold = a.threshold; a.threshold == 0 {
		r.Release.Threshold = len(r.Release.Keys)
	}
	if r.Servers, err = cli.LoadPublicKeys(a.server, manifest.RoleServer); err != nil {
		return nil, err
	}
	return []*manifest.Root{r}, nil
}

// read goes through the log. If the audit is nil it could not begin.
func (a *auditor) read(ctx context.Context, trusted []*manifest.Root) (*commit.Audit, *manifest.Root, error) {
	given := 0
	for _, from := range []string{a.state, a.evidence, a.db} {
		if from != "" {
			given++
		}
	}
	switch {
	case given != 1, (a.db == "") != (a.campaign == ""):
		return nil, nil, errors.New("want --state, or --evidence, or else --db and --campaign")
	case a.evidence != "":
		f, err := os.Open(a.evidence)
		if err != nil {
			return nil, nil, err
		}
		defer f.Close()
		e, err := upgrade.OpenEvidence(f)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", a.evidence, err)
		}
		return e.Audit(trusted...)
	case a.state != "":
		control, err := upgrade.OpenControl(a.state)
		if err != nil {
			return nil, nil, err
		}
		defer control.Close()
		return control.Audit(trusted...)
	}
	id, err := manifest.ParseCampaignID(a.campaign)
	if err != nil {
		return nil, nil, fmt.Errorf("--campaign: %w", err)
	}
	if file, ok := strings.CutPrefix(a.db, "sqlite:"); ok { // which would be made
		if _, err := os.Stat(file); err != nil {
			return nil, nil, fmt.Errorf("--db: %w", err)
		}
	}
	s, err := store.Open(ctx, a.db)
	if err != nil {
		return nil, nil, err
	}
	defer s.Close()
	c, err := s.Campaign(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	release, err := s.Release(ctx, c.Release)
	if err != nil {
		return nil, nil, err
	}
	audit, by, err := upgrade.AuditRelease(release.Signed, trusted...)
	if err != nil {
		return nil, nil, err
	}
	return audit, by, s.ReadLog(ctx, id, audit.Record)
}

// print writes what is proved.
func (a *auditor) print(audit *commit.Audit, by *manifest.Root) {
	t := tabwriter.NewWriter(a.world.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "campaign\t%v\n", audit.Campaign())
	release := "verified by the keys that are trusted"
	if by.Version > 0 {
		release = fmt.Sprintf("verified by the keys of root %d", by.Version)
	}
	fmt.Fprintf(t, "release\t%s\n", release)
	for i, w := range audit.Waves() {
		fmt.Fprintf(t, "wave %d\t%s\tdecision %s\tapprovals %s\t%s\n", i+1, w.Verdict, proof(w.Decision), proof(w.Approvals), w.Detail)
	}
	for _, d := range audit.Devices() {
		fmt.Fprintf(t, "  %s\t%s\tvote %s\tresult %s\t%s\n", d.Device, stateName(d.State), proof(d.Vote), proof(d.Result), d.Detail)
	}
	t.Flush()
}

func proof(p commit.Proof) string {
	if p == commit.ProofNone {
		return "none"
	}
	return string(p)
}

// sameDevices returns an error that names a device which is only on one list, or has another key there.
func sameDevices(got, want []commit.Target) error {
	keys := map[string]manifest.PublicKey{}
	for _, t := range want {
		keys[t.Device] = t.Key
	}
	for _, t := range got {
		switch key, ok := keys[t.Device]; {
		case !ok:
			return fmt.Errorf("device %s was in the campaign, and is not listed", t.Device)
		case key != t.Key:
			return fmt.Errorf("device %s had another key in the campaign", t.Device)
		}
		delete(keys, t.Device)
	}
	for device := range keys {
		return fmt.Errorf("device %s is listed, and was not in the campaign", device)
	}
	return nil
}
