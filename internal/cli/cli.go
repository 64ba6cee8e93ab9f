// Package cli is what both commands have in common: exit statuses, flags by environment and configuration file, units,
// events as JSON lines, and progress on a terminal.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Exit statuses, the same for all commands.
const (
	OK       = 0 // done
	Failed   = 1 // failed
	BadUsage = 2 // what was asked for cannot be done as asked; nothing was changed
	TimedOut = 3 // not done in time
	Partial  = 4 // committed, but not on every target
)

// An Exit is an error with an exit status of its own.
type Exit struct {
	Status int
	Err    error // nil: nothing more to say
}

func (e *Exit) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit status %d", e.Status)
	}
	return e.Err.Error()
}

func (e *Exit) Unwrap() error { return e.Err }

// Usagef returns an error that ends the command with status 2: one line that says what is wrong and what to do.
func Usagef(format string, args ...any) error { return &Exit{BadUsage, fmt.Errorf(format, args...)} }

// Usage gives err status 2, unless it is nil.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return &Exit{BadUsage, err}
}

// World is what a command sees of the machine it runs on.
type World struct {
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Getenv func(string) string
}

// OSWorld returns the world of this process.
func OSWorld() World { return World{os.Stdin, os.Stdout, os.Stderr, os.Getenv} }

// Run executes a command and returns its exit status. It ends cleanly at SIGINT and SIGTERM.
func Run(root *cobra.Command, args []string, w World) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	prefix := strings.ToUpper(root.Name()) + "_"
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetArgs(args)
	root.SetIn(w.Stdin)
	root.SetOut(w.Stdout)
	root.SetErr(w.Stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return Usagef("%w; see %s --help", err, c.CommandPath())
	})
	root.PersistentFlags().String("config", "", "read flags from this TOML `file`: name = value, in a table for each sub-command")
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error { return Usage(setFlags(c, prefix, w.Getenv)) }
	root.CompletionOptions.HiddenDefaultCmd = true

	c, err := root.ExecuteContextC(ctx)
	switch e, ok := errors.AsType[*Exit](err); {
	case err == nil:
		return OK
	case ok:
		if e.Err != nil {
			fmt.Fprintf(w.Stderr, "%s: %s\n", root.Name(), plain(e.Err))
		}
		return e.Status
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		fmt.Fprintf(w.Stderr, "%s: interrupted\n", root.Name())
		return Failed
	case strings.HasPrefix(err.Error(), "unknown command"): // cobra has no types for these
		fmt.Fprintf(w.Stderr, "%s: %v; see %[1]s --help\n", root.Name(), err)
		return BadUsage
	case strings.HasPrefix(err.Error(), "required flag"):
		fmt.Fprintf(w.Stderr, "%s: %s; see %s --help\n", root.Name(), missing(c), c.CommandPath())
		return BadUsage
	}
	fmt.Fprintf(w.Stderr, "%s: %s\n", root.Name(), plain(err))
	return Failed
}

// ours is a prefix of an error that names one of our packages: of use to programmers, noise to others.
var ours = regexp.MustCompile(`(^|: )(norm|fec|wire|session|udp|doctor|manifest|merkle|commit|disk|filestore|discovery|upgrade|store|fleet): `)

// plain returns an error's text for people, in one line.
func plain(err error) string {
	text := strings.ReplaceAll(err.Error(), "\n", "; ") // of errors.Join
	for ours.MatchString(text) {
		text = ours.ReplaceAllString(text, "$1")
	}
	return text
}

// missing says which required flags were not given.
func missing(c *cobra.Command) string {
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if required := f.Annotations[cobra.BashCompOneRequiredFlag]; len(required) > 0 && required[0] == "true" && !f.Changed {
			names = append(names, "--"+f.Name)
		}
	})
	if len(names) == 1 {
		return names[0] + " is required"
	}
	return strings.Join(names, " and ") + " are required"
}
