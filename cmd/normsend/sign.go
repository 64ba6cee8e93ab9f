package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/spf13/cobra"
)

func signCommand(w cli.World) *cobra.Command {
	s := signer{world: w, expires: cli.Duration(180 * 24 * time.Hour)}
	c := &cobra.Command{
		Use:   "sign --key release.key (--product P --version V --compatible HW,… IMAGE… | --add fw.manifest)",
		Short: "Sign a release, or add a signature to one",
		Long: `sign writes the manifest of a release: what its images are, for which devices and until when, signed by one
release key or several. A device installs it if enough keys that it trusts have signed.

With --seal the images are encrypted first: each into a file of its name with .age added, which is what is sent, and their
file keys into a file with the name of the manifest and .seal in place of .manifest, which the campaign server needs and
nobody else may have. A release that is signed anew is sealed anew.

With --add it adds a signature to a manifest that another key has signed, and leaves everything else as it is.`,
		Example: `  normsend sign --key release.key --product router --version 2.1.0 --compatible ar9331,mt7621 fw.bin
  normsend sign --key release.key --product router --version 2.1.0 --compatible any --seal fw.bin    # fw.bin.age, fw.seal
  normsend sign --add fw.manifest --key second.key`,
		RunE: func(c *cobra.Command, images []string) error { return s.run(c, images) },
	}
	fs := c.Flags()
	fs.StringArrayVar(&s.keys, "key", nil, "release key `file`; give it again for each signature")
	fs.StringVar(&s.product, "product", "", "product the release is for")
	fs.StringVar(&s.version, "version", "", "version, for people")
	fs.StringSliceVar(&s.hardware, "compatible", nil, "hardware `names` the release is for, or any")
	fs.Uint64Var(&s.sequence, "sequence", 0, "rises with each release, devices refuse a lower one; default: the time in seconds since 1970")
	fs.Uint64Var(&s.epoch, "epoch", 0, "rises when what was released before must never run again")
	fs.Var(&s.expires, "expires", "how long the release may be installed")
	fs.StringArrayVar(&s.approvers, "approver", nil, "public approver key `file` of a person who may agree to COMMIT; give it again for each")
	fs.IntVar(&s.approvals, "approvals", 0, "how many of them have to agree, see normsend approve; default: all")
	fs.BoolVar(&s.seal, "seal", false, "encrypt the images: devices open them by --seal-key, or by the server's leave")
	fs.StringVar(&s.add, "add", "", "`manifest` to add a signature to")
	fs.StringVar(&s.out, "out", "", "`file` to write; default: fw.manifest, or what is given to --add")
	c.MarkFlagRequired("key")
	return c
}

// A signer is one run of normsend sign.
type signer struct {
	world            cli.World
	keys             []string
	product, version string
	hardware         []string
	sequence, epoch  uint64
	expires          cli.Duration
	approvers        []string
	approvals        int
	add, out         string
	seal             bool
	sealed           sealedFiles
}

func (s *signer) run(c *cobra.Command, images []string) error {
	keys, err := loadReleaseKeys(s.keys)
	if err != nil {
		return cli.Usage(err)
	}
	signed, err := s.sign(c, keys, images)
	if err == nil {
		err = s.sealed.writeKeys(s.out) // before there is a manifest that cannot do without
	}
	if err == nil {
		err = writeFile(s.out, signed)
	}
	if err != nil {
		s.sealed.remove()
		return cli.Usage(err)
	}
	m, ids, err := manifest.OpenUnverified(signed)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.world.Stdout, "%s  %s %s for %s, sequence %d, expires %s, %s\n", s.out, m.Product, m.Version,
		strings.Join(m.Hardware, ", "), m.Sequence, m.Expires.Format(time.DateOnly), count(len(ids), "signature"))
	s.sealed.describe(s.world.Stdout)
	return nil
}

func (s *signer) sign(c *cobra.Command, keys []*manifest.PrivateKey, images []string) (signed []byte, err error) {
	if s.add == "" {
		if s.out == "" {
			s.out = "fw.manifest"
		}
		m, err := s.release(images, time.Now())
		if err != nil {
			return nil, err
		}
		return m.Sign(keys...)
	}
	for _, name := range []string{"product", "version", "compatible", "sequence", "epoch", "expires", "approver", "approvals", "seal"} {
		if c.Flags().Changed(name) {
			return nil, fmt.Errorf("--%s cannot be given with --add: what was signed stays as it is", name)
		}
	}
	if len(images) > 0 {
		return nil, fmt.Errorf("%s: images cannot be given with --add: what was signed stays as it is", images[0])
	}
	if s.out == "" {
		s.out = s.add
	}
	if signed, err = readManifest(s.add); err != nil {
		return nil, err
	}
	for _, key := range keys {
		if signed, err = manifest.AddSignature(signed, key); err != nil {
			return nil, fmt.Errorf("%s: %w", s.add, err)
		}
	}
	return signed, nil
}

// release describes the images.
func (s *signer) release(images []string, now time.Time) (*manifest.Manifest, error) {
	switch {
	case s.product == "" || s.version == "" || len(s.hardware) == 0:
		return nil, errors.New("--product, --version and --compatible are required; see normsend sign --help")
	case len(images) == 0:
		return nil, errors.New("name the images to sign")
	case s.expires <= 0:
		return nil, fmt.Errorf("--expires %v: a release that has expired cannot be installed", &s.expires)
	}
	for _, given := range []struct{ flag, name string }{{"--product", s.product}, {"--version", s.version}} {
		if !manifest.ValidName(given.name) {
			return nil, fmt.Errorf("%s %q: %s", given.flag, given.name, wantName)
		}
	}
	for _, name := range s.hardware {
		if !manifest.ValidName(name) {
			return nil, fmt.Errorf("--compatible %q: %s", name, wantName)
		}
	}
	now = now.UTC().Truncate(time.Second)
	m := &manifest.Manifest{
		Product: s.product, Hardware: s.hardware, Version: s.version, Sequence: s.sequence, Epoch: s.epoch,
		Created: now, Expires: now.Add(time.Duration(s.expires)).Truncate(time.Second),
	}
	var err error
	if m.Approvers, err = cli.LoadPublicKeys(s.approvers, manifest.RoleApprover); err != nil {
		return nil, err
	}
	if m.Approvals = s.approvals; m.Approvals == 0 {
		m.Approvals = len(m.Approvers)
	}
	if m.Sequence == 0 {
		m.Sequence = uint64(now.Unix())
	}
	for _, path := range images {
		image, err := s.image(path)
		if err != nil {
			return nil, err
		}
		m.Images = append(m.Images, image)
	}
	return m, nil
}

const wantName = "want a letter or digit and up to 63 letters, digits, '.', '_', '+' or '-'"

// image describes an image, sealed if it is to be.
func (s *signer) image(path string) (image manifest.Image, err error) {
	name := filepath.Base(path)
	if !manifest.ValidName(name) {
		return image, fmt.Errorf("image %q: devices could not store it under this name: %s", path, wantName)
	}
	var sealed *manifest.Sealed
	if s.seal {
		if path, sealed, err = s.sealed.seal(path); err != nil {
			return image, err
		}
	}
	f, size, err := openImage(path)
	if err != nil {
		return image, err
	}
	defer f.Close()
	if image, _, err = manifest.NewImage(name, f, size); err != nil {
		return image, fmt.Errorf("image %s: %w", path, err)
	}
	image.Sealed = sealed
	return image, nil
}

func openImage(path string) (f *os.File, size int64, err error) {
	if f, err = os.Open(path); err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("image %s is not a file", path)
	case info.Size() == 0:
		err = fmt.Errorf("image %s is empty", path)
	default:
		return f, info.Size(), nil
	}
	f.Close()
	return nil, 0, err
}

// readManifest reads a file as far as a manifest may be long.
func readManifest(path string) ([]byte, error) {
	return cli.ReadDocument(path, "a manifest", manifest.MaxFile)
}

// writeFile replaces a file in one step. Its directory has to exist.
func writeFile(path string, content []byte) error {
	at := filepath.Dir(path)
	if _, err := os.Stat(at); err != nil {
		return err
	}
	dir, err := disk.Open(at)
	if err == nil {
		defer dir.Close()
		err = disk.WriteFile(dir, filepath.Base(path), content, 0o644)
	}
	if err != nil {
		return fmt.Errorf("%s cannot be written: %w", path, err)
	}
	return nil
}
