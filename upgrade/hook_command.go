package upgrade

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"time"
)

const (
	// DefaultHookTimeout is how long a command may run.
	DefaultHookTimeout = 10 * time.Minute

	// statusNotActive is the exit status of a health command that says [ErrNotActive]: EX_TEMPFAIL of sysexits.h, "try again".
	statusNotActive = 75

	hookOutput    = 64 << 10        // bytes of output that are logged
	hookLine      = 1 << 10         // and of one line
	hookWaitDelay = 5 * time.Second // for output of what a command left behind
)

// CommandHooks runs a program for each step: its words are split as a shell would do it, without any expansion
// ([SplitWords]), and it is executed without a shell, with no environment but [HookContext.Environ]. Its exit status
// decides. A timeout kills it and everything it started.
type CommandHooks struct {
	Verify, Activate, Health, Rollback string // command lines; empty: no hook

	Timeout time.Duration // of one run; if zero, DefaultHookTimeout
	Log     *slog.Logger  // gets what they print, 64 KiB of each run; nil: nobody does
}

func (h *CommandHooks) command(step Step) string {
	return map[Step]string{StepVerify: h.Verify, StepActivate: h.Activate, StepHealth: h.Health, StepRollback: h.Rollback}[step]
}

// Check returns an error if a command line cannot be executed.
func (h *CommandHooks) Check() error {
	for _, step := range []Step{StepVerify, StepActivate, StepHealth, StepRollback} {
		if h.command(step) == "" {
			continue
		}
		if _, err := commandWords(h.command(step)); err != nil {
			return fmt.Errorf("%s hook %q: %w", step, h.command(step), err)
		}
	}
	return nil
}

// commandWords splits a command line whose program there is.
func commandWords(line string) ([]string, error) {
	words, err := SplitWords(line)
	if err == nil && len(words) == 0 {
		err = errors.New("no command")
	}
	if err == nil {
		_, err = exec.LookPath(words[0])
	}
	return words, err
}

// Has reports whether there is a command for the step.
func (h *CommandHooks) Has(step Step) bool { return h.command(step) != "" }

// Run runs the command of a step.
func (h *CommandHooks) Run(ctx context.Context, step Step, c HookContext) error {
	words, err := SplitWords(h.command(step))
	if err != nil || len(words) == 0 {
		return fmt.Errorf("%s hook: %w", step, cmp.Or(err, errors.New("no command")))
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(h.Timeout, DefaultHookTimeout))
	defer cancel()
	log := h.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env = c.Environ()
	cmd.WaitDelay = hookWaitDelay
	out := &hookLog{log: log.With("hook", string(step)), left: hookOutput}
	cmd.Stdout, cmd.Stderr = out, out
	err = runGroup(cmd)
	out.end()
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // it ended well, perhaps leaving something that holds its output
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s hook: %w", step, context.Cause(ctx))
	}
	if step == StepHealth && cmd.ProcessState.ExitCode() == statusNotActive {
		err = ErrNotActive
	}
	return fmt.Errorf("%s hook: %w", step, err)
}

// A hookLog logs lines, and of many or long ones only the first.
type hookLog struct {
	log  *slog.Logger
	line []byte
	left int
}

var _ io.Writer = (*hookLog)(nil)

func (l *hookLog) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		line, rest, ended := bytes.Cut(p, []byte{'\n'})
		l.line = append(l.line, line[:min(len(line), max(0, hookLine-len(l.line)))]...)
		if ended {
			l.end()
		}
		p = rest
	}
	return n, nil
}

// end logs the line begun.
func (l *hookLog) end() {
	if len(l.line) > 0 && l.left > 0 {
		l.log.Info(string(bytes.ToValidUTF8(l.line, []byte("?"))))
		if l.left -= len(l.line); l.left <= 0 {
			l.log.Warn("further output is not shown")
		}
	}
	l.line = l.line[:0]
}
