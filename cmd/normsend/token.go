package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/upgrade/api/rest"
	"github.com/multicast-upgrade/tool/upgrade/store"
	"github.com/spf13/cobra"
)

func tokenCommand(w cli.World) *cobra.Command {
	c := &cobra.Command{Use: "token", Short: "Make, list and revoke the tokens by which people and programs use a server"}
	c.AddCommand(tokenCreateCommand(w), remoteCommand{
		use: "list", short: "List tokens", example: "token list --server https://192.0.2.1:8443 --token-file anna.token",
		run: func(ctx context.Context, s *client, _ []string) error {
			all, err := pages(func(after string) ([]rest.Token, string, error) {
				l, err := ask[rest.TokenList](s.api.ListTokens(ctx, &rest.ListTokensParams{After: after}))
				return l.Items, l.Next, err
			})
			if err != nil {
				return err
			}
			return table(s, "token", all, "ID\tNAME\tROLE\tMADE BY\tLAST USED\tREVOKED", func(t rest.Token) []any {
				return []any{t.Id, t.Name, t.Role, t.Created.Actor, moment(t.LastUsed), moment(t.Revoked)}
			})
		},
	}.build(w), remoteCommand{
		use: "revoke ID", short: "Revoke a token, for good", example: "token revoke 3f2a9c0d5e6b7a81 --server https://192.0.2.1:8443 --token-file anna.token",
		args: cli.OneArg("say the id of the token"),
		run: func(ctx context.Context, s *client, args []string) error {
			return done(s.api.RevokeToken(ctx, args[0], nil))
		},
	}.build(w))
	return c
}

func tokenCreateCommand(w cli.World) *cobra.Command {
	var db, role, name, out string
	to := &remote{world: w}
	c := &cobra.Command{
		Use:   "create (--db DB | --server URL --token-file FILE) --role ROLE --name NAME [--out FILE]",
		Short: "Make a token",
		Long: `create makes a token: in a server's database itself, on its host, as the first one has to be; or by the server, with
the token of an admin. The secret is told now and never again.

A viewer may look; an operator may make, change and run campaigns, enrol devices and upload releases as well; an
approver may do that, too, and agree with the campaigns of others; an admin may do all that, and alone makes and
revokes tokens. A person's tokens all have the person's name: who made a campaign cannot agree with it, whatever
the token.`,
		Example: `  normsend token create --db sqlite:fleet.db --role admin --name anna --out anna.token
  normsend token create --server https://192.0.2.1:8443 --token-file anna.token --role viewer --name dashboard`,
		Args: cli.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			make := func() (string, error) { return createToken(c.Context(), db, role, name) }
			if db == "" {
				s, err := to.open()
				if err != nil {
					return cli.Usagef("--db, or %w", err)
				}
				make = func() (string, error) {
					t, err := ask[rest.TokenSecret](s.api.CreateToken(c.Context(), rest.NewToken{Name: name, Role: rest.Role(role)}))
					return t.Secret, err
				}
			}
			return tellSecret(w.Stdout, out, make)
		},
	}
	to.register(c)
	fs := c.Flags()
	fs.StringVar(&db, "db", "", "make it in this database itself: sqlite:`FILE` or postgres://USER@HOST/DATABASE")
	fs.StringVar(&role, "role", "viewer", "viewer, operator, approver, admin or device")
	fs.StringVar(&name, "name", "", "whose it is: a person, a program or, in role device, a device")
	fs.StringVar(&out, "out", "", "`file` to make for the secret, readable by its owner alone; default: it is printed")
	c.MarkFlagRequired("name")
	return c
}

func createToken(ctx context.Context, db, role, name string) (secret string, err error) {
	s, err := store.Open(ctx, db)
	if err != nil {
		return "", cli.Usage(err)
	}
	defer s.Close()
	_, secret, err = s.CreateToken(ctx, name, store.Role(role), localBy())
	return secret, cli.Usage(err)
}

// tellSecret makes a secret and writes it to a file of its own, or prints it. There is no secret without its file.
func tellSecret(stdout io.Writer, file string, make func() (string, error)) error {
	out := stdout
	if file != "" {
		f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return cli.Usage(err)
		}
		defer f.Close()
		out = f
	}
	secret, err := make()
	if err != nil {
		if file != "" {
			os.Remove(file)
		}
		return err
	}
	_, err = fmt.Fprintln(out, secret)
	return err
}
