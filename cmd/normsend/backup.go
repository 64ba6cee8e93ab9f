package main

import (
	"fmt"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/upgrade/store"
	"github.com/spf13/cobra"
)

func backupCommand(w cli.World) *cobra.Command {
	var db, out string
	c := &cobra.Command{
		Use:   "backup --db sqlite:FILE --out FILE",
		Short: "Copy the database of a server, also while it runs",
		Long: `backup writes a whole copy of the database as of one moment. It holds secrets and is readable by its owner alone.
A PostgreSQL database is backed up with its own tools.`,
		Example: `  normsend backup --db sqlite:fleet.db --out fleet-monday.db`,
		Args:    cli.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if file, ok := strings.CutPrefix(db, "sqlite:"); ok { // which would be made
				if _, err := os.Stat(file); err != nil {
					return cli.Usagef("--db: %w", err)
				}
			}
			s, err := store.Open(c.Context(), db)
			if err != nil {
				return cli.Usage(err)
			}
			defer s.Close()
			if err := s.Backup(c.Context(), out); err != nil {
				return err
			}
			fmt.Fprintf(w.Stdout, "%s  restore it with: normsend restore --from %[1]s --db sqlite:FILE\n", out)
			return nil
		},
	}
	c.Flags().StringVar(&db, "db", defaultDB, "the database: sqlite:`FILE`")
	c.Flags().StringVar(&out, "out", "", "`file` to make")
	c.MarkFlagRequired("out")
	return c
}

func restoreCommand(w cli.World) *cobra.Command {
	var db, from string
	c := &cobra.Command{
		Use:   "restore --from FILE --db sqlite:FILE",
		Short: "Make the database of a server from a backup",
		Long: `restore makes a database of a backup, where there is none. The server may have decided things since the backup
that it does not know, so the campaigns that are open in it wait until an operator says how each goes on
(normsend campaign resolve), and enrolment tokens that were not used are void.`,
		Example: `  normsend restore --from fleet-monday.db --db sqlite:fleet.db`,
		Args:    cli.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			file, ok := strings.CutPrefix(db, "sqlite:")
			if !ok || file == "" {
				return cli.Usagef("--db %s: want sqlite:FILE", redacted(db))
			}
			if err := store.Restore(c.Context(), from, file, localBy()); err != nil {
				return cli.Usage(err)
			}
			fmt.Fprintf(w.Stdout, "%s restored; open campaigns in it wait for: normsend campaign resolve\n", file)
			return nil
		},
	}
	c.Flags().StringVar(&db, "db", defaultDB, "the database to make: sqlite:`FILE`")
	c.Flags().StringVar(&from, "from", "", "the backup `file`")
	c.MarkFlagRequired("from")
	return c
}

// localBy is who works on the database itself.
func localBy() store.By {
	name := "the server's console"
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username + " at " + name
	}
	return store.By{Actor: name, At: time.Now().UTC()}
}
