package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade/api/rest"
	"github.com/spf13/cobra"
)

func releaseCommand(w cli.World) *cobra.Command {
	c := &cobra.Command{Use: "release", Short: "Upload and list the releases of a server"}
	var file, keys string
	c.AddCommand(remoteCommand{
		use: "upload --manifest fw.manifest IMAGE…", short: "Upload a signed release with its images",
		long: `upload gives a release to a server, which checks the signatures and each image as it comes. What is there already is
compared and stays, so an upload that was cut off is repeated as it was. It prints the digest that campaigns name. Of a
sealed release it takes the files that normsend sign --seal has written: fw.bin.age, and fw.seal by --seal.`,
		example: "release upload --manifest fw.manifest fw.bin --server https://192.0.2.1:8443 --token-file anna.token",
		args:    cli.SomeArgs("name the images"),
		flags: func(c *cobra.Command) {
			c.Flags().StringVar(&file, "manifest", "", "the signed manifest `file`")
			c.Flags().StringVar(&keys, "seal", "", "the `file` with the file keys of a sealed release")
			c.MarkFlagRequired("manifest")
		},
		run: func(ctx context.Context, s *client, images []string) error {
			return uploadRelease(ctx, s, file, keys, images)
		},
	}.build(w), remoteCommand{
		use: "list", short: "List releases", example: "release list --server https://192.0.2.1:8443 --token-file anna.token",
		run: func(ctx context.Context, s *client, _ []string) error {
			all, err := pages(func(after string) ([]rest.Release, string, error) {
				l, err := ask[rest.ReleaseList](s.api.ListReleases(ctx, &rest.ListReleasesParams{After: after}))
				return l.Items, l.Next, err
			})
			if err != nil {
				return err
			}
			return table(s, "release", all, "ID\tPRODUCT\tVERSION\tEXPIRES\tIMAGES\tUPLOADED BY", func(r rest.Release) []any {
				var images []string
				for _, im := range r.Images {
					text := im.Name
					if !im.Present {
						text += " (missing)"
					}
					images = append(images, text)
				}
				return []any{r.Id, r.Product, r.Version, moment(r.Expires), strings.Join(images, ", "), r.Uploaded.Actor}
			})
		},
	}.build(w), remoteCommand{
		use: "remove DIGEST", short: "Remove a release that no campaign has", example: "release remove DIGEST --server https://192.0.2.1:8443 --token-file anna.token",
		args: cli.OneArg("say the digest of the release"),
		run: func(ctx context.Context, s *client, args []string) error {
			return done(s.api.DeleteRelease(ctx, args[0], nil))
		},
	}.build(w))
	return c
}

func uploadRelease(ctx context.Context, s *client, file, keys string, images []string) error {
	signed, err := readManifest(file)
	if err != nil {
		return cli.Usage(err)
	}
	m, _, err := manifest.OpenUnverified(signed) // the server verifies
	if err != nil {
		return cli.Usagef("--manifest %s: %w", file, err)
	}
	var secret []byte
	if keys != "" {
		if _, err := manifest.LoadFileKeys(keys); err != nil { // nothing else is sent
			return cli.Usagef("--seal: %w", err)
		}
		if secret, err = os.ReadFile(keys); err != nil {
			return cli.Usage(err)
		}
	}
	digest := m.Digest().String()
	if err := done(s.api.ShowRelease(ctx, digest)); err != nil { // it is not there
		if err := done(s.api.CreateReleaseWithBody(ctx, nil, "application/cose", bytes.NewReader(signed))); err != nil {
			return err
		}
	}
	if secret != nil {
		if err := done(s.api.UploadFileKeysWithBody(ctx, digest, "application/octet-stream", bytes.NewReader(secret))); err != nil {
			return fmt.Errorf("%s: %w", keys, err)
		}
	}
	for _, path := range images {
		if err := uploadImage(ctx, s, digest, m.ImageOf(filepath.Base(path)), path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if s.json {
		release, err := ask[rest.Release](s.api.ShowRelease(ctx, digest))
		if err != nil {
			return err
		}
		return s.line("release", release)
	}
	fmt.Fprintln(s.world.Stdout, digest)
	return nil
}

func uploadImage(ctx context.Context, s *client, digest, name, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return cli.Usage(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	sized := func(_ context.Context, r *http.Request) error { r.ContentLength = info.Size(); return nil }
	return done(s.api.UploadImageWithBody(ctx, digest, name, "application/octet-stream", f, sized))
}
