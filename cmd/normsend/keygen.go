package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/spf13/cobra"
)

// roles are the roles of keys, in the order in which help names them.
var roles = []manifest.Role{manifest.RoleRelease, manifest.RoleServer, manifest.RoleDevice, manifest.RoleApprover, manifest.RoleGroup, manifest.RoleSeal}

const wantRole = "release, server, device, approver, group or seal"

func keygenCommand(w cli.World) *cobra.Command {
	var role, out string
	c := &cobra.Command{
		Use:   "keygen [--role ROLE] --out NAME",
		Short: "Make a key pair",
		Long: `keygen writes a private key to NAME.key (mode 0600) and its public half to NAME.pub. It never overwrites a key.

The role is stored in both files and checked whenever they are used: a release key signs what may run, a server key
announces and decides when, a device key signs what a device reports, an approver key a person's agreement. A group
key is one secret for all members of a session, by which they authenticate packets (--auth-key): it has no public half.
A seal key is one for all devices of a group: what is sealed to its public half (normsend upgrade --seal-to), those that
have the private half can open (normrecv agent --seal-key).`,
		Example: `  normsend keygen --out release                       # role release, by its name
  normsend keygen --role device --out keys/device-17
  normsend keygen --role seal --out phones            # for sealed images`,
		Args: cli.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if role == "" {
				role = filepath.Base(out)
				if !slices.Contains(roles, manifest.Role(role)) {
					return cli.Usagef("--role is required, as %q is none: "+wantRole, role)
				}
			}
			if !slices.Contains(roles, manifest.Role(role)) {
				return cli.Usagef("--role %q: want "+wantRole, role)
			}
			if manifest.Role(role) == manifest.RoleGroup {
				if err := notOverwritten(manifest.GenerateGroupKey().WriteFile(out)); err != nil {
					return cli.Usage(err)
				}
				fmt.Fprintf(w.Stdout, "%s.key  group key: give it to the members, and to nobody else\n", out)
				return nil
			}
			if manifest.Role(role) == manifest.RoleSeal {
				key, err := manifest.GenerateIdentity()
				if err == nil {
					err = notOverwritten(key.WriteKeyPair(out))
				}
				if err != nil {
					return cli.Usage(err)
				}
				fmt.Fprintf(w.Stdout, "%s.key  private seal key: give it to the devices of the group, and to nobody else\n%[1]s.pub  %s\n", out, key.Recipient().Fingerprint())
				return nil
			}
			key, err := writeKey(manifest.Role(role), out)
			if err != nil {
				return cli.Usage(err)
			}
			fmt.Fprintf(w.Stdout, "%s.key  private %s key, keep it secret\n%[1]s.pub  %[3]s\n", out, role, key.Fingerprint())
			return nil
		},
	}
	c.Flags().StringVar(&role, "role", "", wantRole+"; default: NAME, if it is one of these")
	c.Flags().StringVar(&out, "out", "", "`name` of both files, without .key and .pub")
	c.MarkFlagRequired("out")
	return c
}

// writeKey makes a key pair, and returns the public half.
func writeKey(role manifest.Role, name string) (manifest.PublicKey, error) {
	key, err := manifest.GenerateKey(role, nil)
	if err != nil {
		return manifest.PublicKey{}, err
	}
	return key.Public(), notOverwritten(key.WriteKeyPair(name))
}

// notOverwritten says what to do about a key that exists.
func notOverwritten(err error) error {
	if file, ok := errors.AsType[*fs.PathError](err); ok && errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists, and keys are never overwritten; move it away or choose another --out", file.Path)
	}
	return err
}
