package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/spf13/cobra"
)

// maxInit is for how many devices init makes keys. More devices than that make their own.
const maxInit = 10_000

func initCommand(w cli.World) *cobra.Command {
	devices := 3
	c := &cobra.Command{
		Use:   "init DIR",
		Short: "Make the keys and the list of devices for a first upgrade",
		Long: `init makes a directory with a release key, a server key, a key for each of a few devices and the list of these
devices, and prints the commands that bring a first image to them.`,
		Example: `  normsend init lab
  normsend init --devices 20 lab`,
		Args: cli.OneArg("name the directory to make"),
		RunE: func(_ *cobra.Command, args []string) error {
			if devices < 1 || devices > maxInit {
				return cli.Usagef("--devices %d: want 1 to %d", devices, maxInit)
			}
			if err := initDir(args[0], devices); err != nil {
				return cli.Usage(err)
			}
			return nextCommands.Execute(w.Stdout, struct{ Dir string }{args[0]})
		},
	}
	c.Flags().IntVar(&devices, "devices", devices, "how many devices")
	return c
}

// initDir makes the directory and what is in it.
func initDir(dir string, devices int) error {
	switch there, err := os.ReadDir(dir); {
	case err == nil && len(there) > 0:
		return fmt.Errorf("%s is not empty, and keys are never overwritten; choose another directory", dir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, role := range []manifest.Role{manifest.RoleRelease, manifest.RoleServer} {
		if _, err := writeKey(role, filepath.Join(dir, string(role))); err != nil {
			return err
		}
	}
	var targets []commit.Target
	for i := range devices {
		id := fmt.Sprintf("device-%d", i+1)
		key, err := writeKey(manifest.RoleDevice, filepath.Join(dir, id))
		if err != nil {
			return err
		}
		targets = append(targets, commit.Target{Device: id, Site: "lab", Key: key})
	}
	var list strings.Builder
	writeTargets(&list, targets)
	return writeFile(filepath.Join(dir, "devices"), []byte(list.String()))
}

// nextCommands work as they are, on one machine.
var nextCommands = template.Must(template.New("next").Parse(`{{.Dir}} has

  release.key   signs what may run; keep it off the server      release.pub   devices trust it for images
  server.key    announces and decides when                      server.pub    devices trust it for that alone
  device-*.key  one for each device, signs what it reports      devices       the list: id, site, public key

Next, sign an image, and bring it to the devices; here all on this machine:

  normsend sign --key {{.Dir}}/release.key --product demo --version 1.0 --compatible any --out {{.Dir}}/fw.manifest fw.bin
  normrecv agent --server http://127.0.0.1:8443 --interface lo --trust {{.Dir}}/release.pub --trust-server {{.Dir}}/server.pub \
    --product demo --hardware demo --device-id device-1 --key {{.Dir}}/device-1.key --dir device-1     # one for each device
  normsend upgrade --manifest {{.Dir}}/fw.manifest --key {{.Dir}}/server.key --devices {{.Dir}}/devices \
    --group 239.1.2.3:6003 --interface lo --listen 127.0.0.1:8443 fw.bin

On a network, name its interface, let --listen have an address that devices reach, and give agents https:// and that address.
`))
