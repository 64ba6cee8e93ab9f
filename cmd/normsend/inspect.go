package main

import (
	"fmt"

	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/spf13/cobra"
)

func inspectCommand(w cli.World) *cobra.Command {
	var trust []string
	c := &cobra.Command{
		Use:   "inspect fw.manifest [--trust release.pub]",
		Short: "Show what a manifest says and who signed it",
		Long: `inspect shows a manifest, however old it is. Signatures are checked against the keys given by --trust; unless all of
them have signed, the exit status is 1.`,
		Example: `  normsend inspect fw.manifest --trust release.pub`,
		Args:    cli.OneArg("name one manifest"),
		RunE: func(_ *cobra.Command, args []string) error {
			keys, err := cli.LoadPublicKeys(trust, manifest.RoleRelease)
			if err != nil {
				return cli.Usage(err)
			}
			signed, err := readManifest(args[0])
			if err != nil {
				return cli.Usage(err)
			}
			if err := manifest.Inspect(w.Stdout, signed, keys...); err != nil {
				return cli.Usagef("%s: %w", args[0], err)
			}
			if len(keys) == 0 {
				return nil
			}
			if _, err := manifest.OpenSigned(signed, manifest.Keys{Keys: keys, Threshold: len(keys)}); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return nil
		},
	}
	c.Flags().StringArrayVar(&trust, "trust", nil, "public release key `file` that has to have signed; give it again for each")
	return c
}
