package cli

import "github.com/spf13/cobra"

// NoArgs refuses arguments that are no flags.
func NoArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return Usagef("unexpected argument %q; see %s --help", args[0], c.CommandPath())
	}
	return nil
}

// OneArg wants one argument, and says what is wanted if there is none.
func OneArg(want string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return Usagef("%s; see %s --help", want, c.CommandPath())
		}
		return NoArgs(c, args[1:])
	}
}

// SomeArgs wants arguments, and says what is wanted if there are none.
func SomeArgs(want string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return Usagef("%s; see %s --help", want, c.CommandPath())
		}
		return nil
	}
}
