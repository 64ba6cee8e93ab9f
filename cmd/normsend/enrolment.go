package main

import (
	"context"
	"time"

	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/upgrade/api/rest"
	"github.com/spf13/cobra"
)

func enrolmentCommands(w cli.World) []*cobra.Command {
	return []*cobra.Command{enrolCommand(w), remoteCommand{
		use: "enrolments", short: "List enrolment tokens, the newest first", example: "device enrolments --server https://192.0.2.1:8443 --token-file anna.token",
		run: func(ctx context.Context, s *client, _ []string) error {
			all, err := pages(func(after string) ([]rest.Enrolment, string, error) {
				l, err := ask[rest.EnrolmentList](s.api.ListEnrolments(ctx, &rest.ListEnrolmentsParams{Order: "-created", After: after, Limit: 1000}))
				return l.Items, l.Next, err
			})
			if err != nil {
				return err
			}
			return table(s, "enrolment", all, "ID\tDEVICE\tSITE\tMADE BY\tGOOD UNTIL\tUSED BY", func(e rest.Enrolment) []any {
				return []any{e.Id, e.Device, e.Site, e.Created.Actor, moment(e.Expires), e.Used.Actor}
			})
		},
	}.build(w), remoteCommand{
		use: "revoke-enrolment ID", short: "Revoke an enrolment token that was not used", example: "device revoke-enrolment 5f0c2a9be1d34867 --server https://192.0.2.1:8443 --token-file anna.token",
		args: cli.OneArg("say the id of the enrolment, which normsend device enrolments has"),
		run: func(ctx context.Context, s *client, args []string) error {
			return done(s.api.RevokeEnrolment(ctx, args[0], &rest.RevokeEnrolmentParams{}))
		},
	}.build(w)}
}

func enrolCommand(w cli.World) *cobra.Command {
	e := rest.NewEnrolment{}
	expires := cli.Duration(7 * 24 * time.Hour)
	var out string
	return remoteCommand{
		use: "enrol [--device ID] [--site SITE]", short: "Make a one-time token that lets a device in, its key approved",
		long:    `enrol makes the token that normrecv agent takes as --enrol-token-file. It is told now and never again.`,
		example: "device enrol --device lamp-17 --site berlin --out lamp-17.token --server https://192.0.2.1:8443 --token-file anna.token",
		flags: func(c *cobra.Command) {
			fs := c.Flags()
			fs.StringVar(&e.Device, "device", "", "the device that may use it; default: the first that does")
			fs.StringVar(&e.Site, "site", "", "where the device is")
			fs.StringSliceVar(&e.Tags, "tag", nil, "its `tags`")
			fs.Var(&expires, "expires", "it can be used for so long")
			fs.StringVar(&out, "out", "", "`file` to make for it, readable by its owner alone; default: it is printed")
		},
		run: func(ctx context.Context, s *client, _ []string) error {
			e.Expires = time.Now().UTC().Add(time.Duration(expires))
			return tellSecret(s.world.Stdout, out, func() (string, error) {
				made, err := ask[rest.EnrolmentSecret](s.api.CreateEnrolment(ctx, e))
				return made.Secret, err
			})
		},
	}.build(w)
}
