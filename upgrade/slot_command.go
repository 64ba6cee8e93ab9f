package upgrade

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// ParseSlots reads two slots, such as "A=/dev/mmcblk0p2,B=/dev/mmcblk0p3".
func ParseSlots(s string) (slots [2]Slot, err error) {
	parts := strings.Split(s, ",")
	if len(parts) != len(slots) {
		return slots, fmt.Errorf("%.70q are %d, want two, such as A=/dev/mmcblk0p2,B=/dev/mmcblk0p3", s, len(parts))
	}
	for i, part := range parts {
		name, path, ok := strings.Cut(part, "=")
		if !ok || name == "" || path == "" {
			return slots, fmt.Errorf("%.70q is not like A=/dev/mmcblk0p2", part)
		}
		slots[i] = Slot{name, path}
	}
	return slots, nil
}

// currentTimeout is how long a command may take to tell which slot runs.
const currentTimeout = 10 * time.Second

// CommandCurrent returns a Slots.Current that runs a command, as [CommandHooks] would but with no environment, and takes
// what it prints for the name, without the space around it. The error is that of a command line which cannot be executed.
func CommandCurrent(line string) (func(ctx context.Context) (string, error), error) {
	words, err := commandWords(line)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, currentTimeout)
		defer cancel()
		cmd := exec.CommandContext(ctx, words[0], words[1:]...)
		cmd.Env = []string{}
		cmd.WaitDelay = hookWaitDelay
		out := new(firstBytes)
		cmd.Stdout = out
		if err := runGroup(cmd); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
			return "", fmt.Errorf("%s: %w", words[0], err)
		}
		return strings.TrimSpace(string(out.b)), nil
	}, nil
}

// firstBytes keeps as much as a name can be of what is written to it.
type firstBytes struct{ b []byte }

func (f *firstBytes) Write(p []byte) (int, error) {
	f.b = append(f.b, p[:min(len(p), 2*maxNote-len(f.b))]...)
	return len(p), nil
}
