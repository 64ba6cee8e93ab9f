package main

import (
	"context"
	"fmt"
	"os"

	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/upgrade/store"
	"github.com/spf13/cobra"
)

func tokenCommand(w cli.World) *cobra.Command {
	c := &cobra.Command{
		Use:   "token",
		Short: "Make, list and revoke the tokens by which people and programs use a server",
	}
	c.AddCommand(tokenCreateCommand(w))
	return c
}

func tokenCreateCommand(w cli.World) *cobra.Command {
	var db, role, name, out string
	c := &cobra.Command{
		Use:   "create --db DB --role ROLE --name NAME",
		Short: "Make a token",
		Args:  cli.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			secret, err := createToken(c.Context(), db, role, name)
			if err != nil {
				return cli.Usage(err)
			}
			if out == "" {
				fmt.Fprintln(w.Stdout, secret)
				return nil
			}
			return writeSecret(out, secret)
		},
	}
	fs := c.Flags()
	fs.StringVar(&db, "db", "", "make it in this database itself, on the server's host: sqlite:`FILE` or postgres://…")
	fs.StringVar(&role, "role", "viewer", "viewer, operator, approver or device")
	fs.StringVar(&name, "name", "", "whose it is: a person, a program or, in role device, a device")
	fs.StringVar(&out, "out", "", "`file` to make for the secret, readable by its owner alone; default: it is printed")
	c.MarkFlagRequired("name")
	return c
}

func createToken(ctx context.Context, db, role, name string) (secret string, err error) {
	s, err := store.Open(ctx, db)
	if err != nil {
		return "", err
	}
	defer s.Close()
	_, secret, err = s.CreateToken(ctx, name, store.Role(role), localBy())
	return secret, err
}

func writeSecret(file, secret string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return cli.Usage(err)
	}
	if _, err := fmt.Fprintln(f, secret); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
