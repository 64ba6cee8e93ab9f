package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/upgrade/api/rest"
	"github.com/spf13/cobra"
)

func deviceCommand(w cli.World) *cobra.Command {
	c := &cobra.Command{Use: "device", Short: "List, approve, enrol, place and examine the devices of a server"}
	var q rest.ListDevicesParams
	var key, fingerprint string
	var place rest.Place
	c.AddCommand(remoteCommand{
		use: "list", short: "List devices", example: "device list --key pending --server https://192.0.2.1:8443 --token-file anna.token",
		flags: func(c *cobra.Command) {
			fs := c.Flags()
			fs.StringSliceVar(&q.Product, "product", nil, "only of these `products`")
			fs.StringSliceVar(&q.Site, "site", nil, "only at these `sites`")
			fs.StringSliceVar(&q.Tag, "tag", nil, "only with one of these `tags`")
			fs.StringVar(&key, "key", "", "only with a key that is none, pending, approved or revoked")
			fs.BoolVar(&q.Duplicate, "duplicate", false, "only those whose key lives in two devices")
		},
		run: func(ctx context.Context, s *client, _ []string) error {
			q.Key, q.Limit = rest.KeyState(key), 1000
			all, err := pages(func(after string) ([]rest.Device, string, error) {
				q.After = after
				l, err := ask[rest.DeviceList](s.api.ListDevices(ctx, &q))
				return l.Items, l.Next, err
			})
			if err != nil {
				return err
			}
			return table(s, "device", all, "ID\tSITE\tPRODUCT\tHARDWARE\tVERSION\tKEY\tLAST SEEN\tFINGERPRINT", func(d rest.Device) []any {
				return []any{d.Id, d.Site, d.Product, d.Hardware, d.Version, keyText(d), moment(d.LastSeen), d.Fingerprint}
			})
		},
	}.build(w), remoteCommand{
		use: "show ID", short: "Show a device", example: "device show lamp-17 --server https://192.0.2.1:8443 --token-file anna.token", args: oneDevice,
		run: func(ctx context.Context, s *client, args []string) error {
			d, err := ask[rest.Device](s.api.ShowDevice(ctx, args[0]))
			if err == nil {
				err = showDevice(s, d)
			}
			if err != nil {
				return err
			}
			return findings(ctx, s, args[0])
		},
	}.build(w), remoteCommand{
		use: "approve ID", short: "Say that the key which a device has shown is its own",
		long:    `approve wants you to compare: the fingerprint that the device itself shows is to be the one given, or the one printed.`,
		example: "device approve lamp-17 --fingerprint F --server https://192.0.2.1:8443 --token-file anna.token", args: oneDevice,
		flags: func(c *cobra.Command) {
			c.Flags().StringVar(&fingerprint, "fingerprint", "", "approve no other key than the one with this `fingerprint`")
		},
		run: func(ctx context.Context, s *client, args []string) error {
			return changeDevice(ctx, s, args[0], func(d rest.Device) (rest.Device, error) {
				if fingerprint != "" && fingerprint != d.Fingerprint {
					return d, fmt.Errorf("device %s has shown the key %s, not %s; nothing is approved", d.Id, d.Fingerprint, fingerprint)
				}
				return ask[rest.Device](s.api.ApproveDevice(ctx, d.Id, &rest.ApproveDeviceParams{IfMatch: etagOf(d.Revision)}))
			})
		},
	}.build(w), remoteCommand{
		use: "revoke ID", short: "Say that the key of a device never counts again", example: "device revoke lamp-17 --server https://192.0.2.1:8443 --token-file anna.token", args: oneDevice,
		run: func(ctx context.Context, s *client, args []string) error {
			return changeDevice(ctx, s, args[0], func(d rest.Device) (rest.Device, error) {
				return ask[rest.Device](s.api.RevokeDevice(ctx, d.Id, &rest.RevokeDeviceParams{IfMatch: etagOf(d.Revision)}))
			})
		},
	}.build(w), remoteCommand{
		use: "replace-key ID", short: "Forget the key of a device, so that it can show another", example: "device replace-key lamp-17 --server https://192.0.2.1:8443 --token-file anna.token", args: oneDevice,
		run: func(ctx context.Context, s *client, args []string) error {
			return changeDevice(ctx, s, args[0], func(d rest.Device) (rest.Device, error) {
				return ask[rest.Device](s.api.ReplaceDeviceKey(ctx, d.Id, &rest.ReplaceDeviceKeyParams{IfMatch: etagOf(d.Revision)}))
			})
		},
	}.build(w), remoteCommand{
		use: "place ID --site SITE [--tag TAG,…]", short: "Set site and tags of a device", example: "device place lamp-17 --site berlin --tag hall-3 --server https://192.0.2.1:8443 --token-file anna.token", args: oneDevice,
		flags: func(c *cobra.Command) {
			c.Flags().StringVar(&place.Site, "site", "", "where it is")
			c.Flags().StringSliceVar(&place.Tags, "tag", nil, "its `tags`, all of them")
			c.MarkFlagRequired("site")
		},
		run: func(ctx context.Context, s *client, args []string) error {
			if place.Tags == nil {
				place.Tags = []string{}
			}
			return changeDevice(ctx, s, args[0], func(d rest.Device) (rest.Device, error) {
				return ask[rest.Device](s.api.PlaceDevice(ctx, d.Id, &rest.PlaceDeviceParams{IfMatch: etagOf(d.Revision)}, place))
			})
		},
	}.build(w), remoteCommand{
		use: "remove ID", short: "Forget a device", example: "device remove lamp-17 --server https://192.0.2.1:8443 --token-file anna.token", args: oneDevice,
		run: func(ctx context.Context, s *client, args []string) error {
			d, err := ask[rest.Device](s.api.ShowDevice(ctx, args[0]))
			if err != nil {
				return err
			}
			return done(s.api.RemoveDevice(ctx, d.Id, &rest.RemoveDeviceParams{IfMatch: etagOf(d.Revision)}))
		},
	}.build(w))
	c.AddCommand(enrolmentCommands(w)...)
	c.AddCommand(examinationCommands(w)...)
	return c
}

var oneDevice = cli.OneArg("say the id of the device")

func keyText(d rest.Device) string {
	if d.Duplicate {
		return string(d.KeyState) + ", duplicate"
	}
	return string(d.KeyState)
}

func showDevice(s *client, d rest.Device) error {
	return show(s, "device", d, "device", d.Id, "product", d.Product, "hardware", d.Hardware, "version", d.Version, "site", d.Site,
		"tags", strings.Join(d.Tags, " "), "key", keyText(d), "fingerprint", d.Fingerprint, "first seen", moment(d.FirstSeen), "last seen", moment(d.LastSeen))
}

// changeDevice changes a device as it is now, and shows what became of it.
func changeDevice(ctx context.Context, s *client, id string, change func(rest.Device) (rest.Device, error)) error {
	d, err := ask[rest.Device](s.api.ShowDevice(ctx, id))
	if err == nil {
		d, err = change(d)
	}
	if err != nil {
		return err
	}
	return showDevice(s, d)
}
