package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// setFlags gives the flags that the command line left out the values of the environment, and what that leaves out, those
// of the configuration file.
func setFlags(c *cobra.Command, prefix string, getenv func(string) string) error {
	var bad error
	c.Flags().VisitAll(func(f *pflag.Flag) {
		name := prefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if v := getenv(name); v != "" && !f.Changed && bad == nil {
			if err := c.Flags().Set(f.Name, v); err != nil {
				bad = fmt.Errorf("environment variable %s: %w", name, err)
			}
		}
	})
	if file, err := c.Flags().GetString("config"); bad == nil && err == nil && file != "" {
		bad = readConfig(c, file)
	}
	return bad
}

// readConfig reads the keys of the command's own table, and those above all tables as far as the command knows them. The
// sub-commands of a command share its table, and take of it what they know.
func readConfig(c *cobra.Command, file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var keys map[string]any
	if err := toml.Unmarshal(b, &keys); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	own := c
	for own.HasParent() && own.Parent() != c.Root() {
		own = own.Parent()
	}
	for name, value := range keys {
		table, ok := value.(map[string]any)
		switch {
		case ok && name == own.Name():
			for name, value := range table {
				if c != own && c.Flags().Lookup(name) == nil && knownFlag(own, name) {
					continue
				}
				if err := setFlag(c, file, name, value); err != nil {
					return err
				}
			}
		case ok:
			if sub, _, err := c.Root().Find([]string{name}); err != nil || sub == c.Root() {
				return fmt.Errorf("%s: there is no command %q", file, name)
			}
		case knownFlag(c.Root(), name):
			if c.Flags().Lookup(name) != nil {
				if err := setFlag(c, file, name, value); err != nil {
					return err
				}
			}
		default:
			return fmt.Errorf("%s: no command has a flag %q", file, name)
		}
	}
	return nil
}

func knownFlag(root *cobra.Command, name string) bool {
	for _, sub := range root.Commands() {
		if sub.Flags().Lookup(name) != nil || knownFlag(sub, name) {
			return true
		}
	}
	return false
}

func setFlag(c *cobra.Command, file, name string, value any) error {
	f := c.Flags().Lookup(name)
	if f == nil {
		return fmt.Errorf("%s: %s has no flag %q", file, c.CommandPath(), name)
	}
	if f.Changed {
		return nil
	}
	values, ok := value.([]any)
	if !ok {
		values = []any{value}
	}
	for _, v := range values {
		if err := c.Flags().Set(name, fmt.Sprint(v)); err != nil {
			return fmt.Errorf("%s: %s: %w", file, name, err)
		}
	}
	return nil
}
