package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/seal"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/api/rest"
	"github.com/spf13/cobra"
)

// sealedFiles are what one run of normsend sign --seal makes beside the manifest.
type sealedFiles struct {
	images  []string // paths of what is sent
	keyFile string
	keys    []manifest.FileKey
}

// seal encrypts an image into a file of its name with .age added, and returns that and what the manifest says of it.
func (s *sealedFiles) seal(image string) (path string, sealed *manifest.Sealed, err error) {
	src, _, err := openImage(image)
	if err != nil {
		return "", nil, err
	}
	defer src.Close()
	path = image + manifest.SealedSuffix
	dst, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return "", nil, fmt.Errorf("%s exists, and may be what a campaign sends; move it away, or the image to another directory", path)
	}
	if err != nil {
		return "", nil, err
	}
	s.images = append(s.images, path)
	key, sealed, err := seal.Encrypt(dst, src)
	if err = errors.Join(err, dst.Sync(), dst.Close()); err != nil {
		return "", nil, fmt.Errorf("%s: %w", path, err)
	}
	s.keys = append(s.keys, key)
	return path, sealed, nil
}

// writeKeys writes the file keys beside a manifest.
func (s *sealedFiles) writeKeys(name string) error {
	if len(s.keys) == 0 {
		return nil
	}
	path := strings.TrimSuffix(name, ".manifest") + ".seal"
	if err := notOverwritten(manifest.WriteFileKeys(path, s.keys)); err != nil {
		return err
	}
	s.keyFile = path
	return nil
}

// remove removes what was made, when there is no manifest of it.
func (s *sealedFiles) remove() {
	for _, path := range append(s.images, s.keyFile) {
		if path != "" {
			os.Remove(path)
		}
	}
}

func (s *sealedFiles) describe(w io.Writer) {
	for _, path := range s.images {
		fmt.Fprintf(w, "%s  sealed image: this is what is sent\n", path)
	}
	if s.keyFile != "" {
		fmt.Fprintf(w, "%s  its file keys, secret: for the campaign server (--seal), and for nobody else\n", s.keyFile)
	}
}

// sealDevices, among what --seal-to names, is each device of the list.
const sealDevices = "devices"

// sealFlags say who may open sealed images.
type sealFlags struct {
	keys string
	to   []string
}

func (s *sealFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&s.keys, "seal", "", "`file` with the file keys of a sealed release, which normsend sign --seal has written")
	c.Flags().StringSliceVar(&s.to, "seal-to", nil, "who may open it: public seal key `files` of groups, or devices for each of --devices that proves its key")
}

// sealSettings are those of a campaign of a server.
func sealSettings(to []string) (set rest.Seal, err error) {
	for _, name := range to {
		if name == sealDevices {
			set.Devices = true
			continue
		}
		key, err := manifest.LoadRecipient(name)
		if err != nil {
			return set, err
		}
		set.To = append(set.To, key.String())
	}
	return set, nil
}

// resolve reads the files, and finds out whether the keys are those of the release.
func (s *sealFlags) resolve(cfg *upgrade.CampaignConfig) (err error) {
	for _, name := range s.to {
		if name == sealDevices {
			cfg.SealDevices = true
			continue
		}
		to, err := manifest.LoadRecipient(name)
		if err != nil {
			return fmt.Errorf("--seal-to: %w", err)
		}
		cfg.SealTo = append(cfg.SealTo, to)
	}
	if s.keys == "" {
		return nil
	}
	if cfg.FileKeys, err = manifest.LoadFileKeys(s.keys); err != nil {
		return fmt.Errorf("--seal: %w", err)
	}
	m, _, err := manifest.OpenUnverified(cfg.Manifest)
	if err != nil || len(m.Sealed()) == 0 {
		return nil // which is said of the manifest
	}
	if err := seal.CheckAll(m, cfg.FileKeys); err != nil {
		return fmt.Errorf("--seal %s: they are the file keys of another release: %w", s.keys, err)
	}
	return nil
}
