package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/spf13/cobra"
)

func rootCommand(w cli.World) *cobra.Command {
	c := &cobra.Command{
		Use:   "root",
		Short: "Make the root documents that name the keys which devices trust",
		Long: `A root document names the release keys and how many of them have to sign, the server keys, and approver keys. Devices
are given the first (normrecv agent --root) and follow each next one that the server offers (normsend upgrade --root,
normsend serve --root), if enough release keys of both have signed it. A key that the next one leaves out is revoked.`,
		Args: cli.NoArgs,
	}
	c.AddCommand(rootCreateCommand(w), rootSignCommand(w), rootShowCommand(w))
	return c
}

// A rootMaker is one run of normsend root create.
type rootMaker struct {
	previous                   string
	release, server, approvers []string
	threshold, approvals       int
	expires                    cli.Duration
	keys                       []string
	out                        string
}

func rootCreateCommand(w cli.World) *cobra.Command {
	m := rootMaker{expires: cli.Duration(365 * 24 * time.Hour)}
	c := &cobra.Command{
		Use:   "create --key release.key --out FILE (--release FILE… --server FILE… | --previous FILE)",
		Short: "Make the first root document, or the next one",
		Long: `create writes a root document and signs it. The next one follows --previous: of what is not given it has the same, so
that with nothing else it lasts longer. Keys given replace all of their kind: name those that stay as well.

It has to be signed by enough release keys of --previous and by enough of its own. Those that are elsewhere add their
signatures by normsend root add-signature.`,
		Example: `  normsend root create --release a.pub --release b.pub --release c.pub --threshold 2 --server server.pub \
    --key a.key --key b.key --out root.1
  normsend root create --previous root.1 --server next.pub --key a.key --key b.key --out root.2     # replaces the server key`,
		Args: cli.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			signed, err := m.make(c.Flags().Changed)
			if err == nil {
				err = writeFile(m.out, signed)
			}
			if err != nil {
				return cli.Usage(err)
			}
			return sayRoot(w, m.out, signed, m.previous)
		},
	}
	fs := c.Flags()
	fs.StringVar(&m.previous, "previous", "", "root document `file` that this one follows")
	fs.StringArrayVar(&m.release, "release", nil, "public release key `file`; give it again for each")
	fs.IntVar(&m.threshold, "threshold", 0, "how many release keys have to sign a release, and the next root; default: as before, or all")
	fs.StringArrayVar(&m.server, "server", nil, "public server key `file`; give it again for a second one while one is replaced")
	fs.StringArrayVar(&m.approvers, "approver", nil, "public approver key `file`; give it again for each")
	fs.IntVar(&m.approvals, "approvals", 0, "how many approvers have to agree to every COMMIT; default: as before, or all")
	fs.Var(&m.expires, "expires", "how long it is in force: devices install nothing after that without the next one")
	fs.StringArrayVar(&m.keys, "key", nil, "release key `file` to sign with; give it again for each")
	fs.StringVar(&m.out, "out", "", "`file` to write")
	c.MarkFlagRequired("key")
	c.MarkFlagRequired("out")
	return c
}

// make returns the signed document.
func (m *rootMaker) make(given func(string) bool) ([]byte, error) {
	now := time.Now().UTC().Truncate(time.Second)
	r, err := openPrevious(m.previous)
	switch {
	case err != nil:
		return nil, err
	case r != nil: // what is not given stays
	case len(m.release) == 0 || len(m.server) == 0:
		return nil, errors.New("a first root needs --release and --server; the next one --previous")
	default:
		r = &manifest.Root{}
	}
	if m.expires <= 0 {
		return nil, fmt.Errorf("--expires %v: devices would install nothing", &m.expires)
	}
	r.Version++
	r.Issued, r.Expires = now, now.Add(time.Duration(m.expires)).Truncate(time.Second)
	for _, kind := range []struct {
		flag      string
		role      manifest.Role
		files     []string
		keys      *[]manifest.PublicKey
		threshold *int // nil: there is none
	}{
		{"release", manifest.RoleRelease, m.release, &r.Release.Keys, &r.Release.Threshold},
		{"server", manifest.RoleServer, m.server, &r.Servers, nil},
		{"approver", manifest.RoleApprover, m.approvers, &r.Approvers, &r.Approvals},
	} {
		if !given(kind.flag) {
			continue
		}
		keys, err := cli.LoadPublicKeys(kind.files, kind.role)
		if err != nil {
			return nil, err
		}
		*kind.keys = keys
		if kind.threshold != nil && (*kind.threshold == 0 || *kind.threshold > len(*kind.keys)) {
			*kind.threshold = len(*kind.keys)
		}
	}
	if given("threshold") {
		r.Release.Threshold = m.threshold
	}
	if given("approvals") {
		if r.Approvals = m.approvals; r.Approvals == 0 {
			r.Approvers = nil
		}
	}
	keys, err := loadReleaseKeys(m.keys)
	if err != nil {
		return nil, err
	}
	return r.Sign(keys...)
}

// loadReleaseKeys reads the private keys to sign with.
func loadReleaseKeys(paths []string) (keys []*manifest.PrivateKey, err error) {
	for _, path := range paths {
		key, err := manifest.LoadPrivateKey(path, manifest.RoleRelease)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func rootSignCommand(w cli.World) *cobra.Command {
	var keys []string
	var previous string
	c := &cobra.Command{
		Use:     "add-signature --key b.key FILE",
		Short:   "Add a signature to a root document",
		Long:    `add-signature adds the signature of a release key to a root document, in its place, and leaves everything else as it is.`,
		Example: `  normsend root add-signature --key b.key --previous root.1 root.2`,
		Args:    cli.OneArg("name one root document"),
		RunE: func(_ *cobra.Command, args []string) error {
			private, err := loadReleaseKeys(keys)
			if err != nil {
				return cli.Usage(err)
			}
			signed, err := cli.ReadRoot(args[0])
			if err != nil {
				return cli.Usage(err)
			}
			for _, key := range private {
				if signed, err = manifest.AddRootSignature(signed, key); err != nil {
					return cli.Usagef("%s: %w", args[0], err)
				}
			}
			if err := writeFile(args[0], signed); err != nil {
				return cli.Usage(err)
			}
			return sayRoot(w, args[0], signed, previous)
		},
	}
	c.Flags().StringArrayVar(&keys, "key", nil, "release key `file`; give it again for each signature")
	c.Flags().StringVar(&previous, "previous", "", "root document `file` that this one follows, to see whether enough have signed")
	c.MarkFlagRequired("key")
	return c
}

func rootShowCommand(w cli.World) *cobra.Command {
	var previous string
	c := &cobra.Command{
		Use:   "show FILE [--previous FILE]",
		Short: "Show what a root document says and who signed it",
		Long: `show prints a root document, however old it is. The exit status is 1 unless enough keys have signed: its own, and those of
--previous.`,
		Example: `  normsend root show --previous root.1 root.2`,
		Args:    cli.OneArg("name one root document"),
		RunE: func(_ *cobra.Command, args []string) error {
			signed, err := cli.ReadRoot(args[0])
			if err != nil {
				return cli.Usage(err)
			}
			before, err := openPrevious(previous)
			if err != nil {
				return cli.Usage(err)
			}
			if err := manifest.InspectRoot(w.Stdout, signed, before); err != nil {
				return cli.Usagef("%s: %w", args[0], err)
			}
			if err := checkRoot(signed, before); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return nil
		},
	}
	c.Flags().StringVar(&previous, "previous", "", "root document `file` that this one follows")
	return c
}

// checkRoot returns nil if enough have signed the root: its own keys, and those of the root before it, if there is one.
func checkRoot(signed []byte, before *manifest.Root) error {
	if before == nil {
		_, err := manifest.OpenRoot(signed)
		return err
	}
	_, err := before.Next(signed)
	return err
}

// openRootFile reads a root that is complete.
func openRootFile(path string) (*manifest.Root, error) {
	signed, err := cli.ReadRoot(path)
	if err != nil {
		return nil, err
	}
	r, err := manifest.OpenRoot(signed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// openPrevious reads the root given by --previous, nil if none is.
func openPrevious(path string) (*manifest.Root, error) {
	if path == "" {
		return nil, nil
	}
	return openRootFile(path)
}

// sayRoot says what has become of a root document, and whether signatures are missing.
func sayRoot(w cli.World, path string, signed []byte, previous string) error {
	r, by, err := manifest.OpenRootUnverified(signed)
	if err != nil {
		return err
	}
	before, err := openPrevious(previous)
	if err != nil {
		return cli.Usage(err)
	}
	missing := "complete"
	switch err := checkRoot(signed, before); {
	case r.Version > 1 && before == nil && err == nil:
		missing = "enough of its own keys; those of the root before it show with --previous"
	case err != nil:
		missing = "not enough yet: normsend root add-signature adds one"
	}
	fmt.Fprintf(w.Stdout, "%s  root %d, until %s, signatures %d: %s\n", path, r.Version, r.Expires.Format(time.RFC3339), len(by), missing)
	return nil
}
