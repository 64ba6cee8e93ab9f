package normtest

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/multicast-upgrade/tool/norm"
)

var update = flag.Bool("update", false, "rewrite what the scripts print")

// RunScripts runs each script of a directory (its files *.txt) as a sub-test. The package comment describes scripts.
// With the flag -update a script that prints something else is rewritten instead.
func RunScripts(t *testing.T, dir string) {
	names, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no scripts in %s (%v)", dir, err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			s := parseScript(string(text))
			err = s.run(*update)
			if *update {
				if err := os.WriteFile(name, []byte(s.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err != nil {
				t.Errorf("%s:%v", name, err)
			}
		})
	}
}

// run performs the blocks one after the other. It stops at the first error, or, unless it is to update them, at the
// first block that prints something else than it should; the error begins with the line number.
func (s *script) run(update bool) (err error) {
	r := new(runner)
	line := 0
	defer func() { // a node that broke the contract, or an invariant of its own
		if p := recover(); p != nil {
			err = fmt.Errorf("%d: panic: %v", line, p)
		}
	}()
	for _, b := range s.blocks {
		var got []string
		for l, command := range b.commands {
			line = l
			lines, err := r.perform(command)
			if err != nil {
				return fmt.Errorf("%d: %s: %w", line, command, err)
			}
			got = append(got, lines...)
		}
		got = append(got, r.traced()...)
		switch d := b.difference(got); {
		case d == "":
		case !update:
			return fmt.Errorf("%d: output %s\nall of it:\n\t%s", line, d, strings.Join(got, "\n\t"))
		default:
			b.runs = true
			b.update(got)
		}
	}
	return nil
}

// A runner is the state of a script between its commands.
type runner struct {
	net       *Net
	trace     *Trace
	sites     map[string]*Site
	senders   map[string]*Sender
	receivers map[string]*Receiver
	strangers map[string]*stranger
	counts    map[*Host]map[string]uint64
	defaults  *defaults
}

// defaults are what the command group said and later nodes inherit.
type defaults struct {
	sender   norm.SenderConfig
	receiver norm.ReceiverConfig
	link     Link
}

// A command of a script; it prints lines.
type command func(r *runner, a *args) (lines []string, err error)

var commands map[string]command

func init() {
	commands = make(map[string]command)
	for _, m := range []map[string]command{nodeCommands, objectCommands, ackCommands, streamCommands, networkCommands, showCommands} {
		maps.Copy(commands, m)
	}
}

func (r *runner) perform(line string) ([]string, error) {
	fields := strings.Fields(line)
	c, ok := commands[fields[0]]
	switch {
	case !ok:
		return nil, fmt.Errorf("no such command; there are %s", strings.Join(slices.Sorted(maps.Keys(commands)), ", "))
	case r.net == nil && fields[0] != "group":
		return nil, fmt.Errorf("a script begins with the command group")
	}
	var before []string // of the network that the command group puts away
	if fields[0] == "group" {
		before = r.traced()
	}
	a := parseArgs(fields[1:])
	lines, err := c(r, a)
	if err == nil {
		err = a.done()
	}
	if len(lines) > 0 {
		before = append(before, r.traced()...)
	}
	return append(before, lines...), err
}

// traced returns the lines of the trace since the last call.
func (r *runner) traced() []string {
	if r.trace == nil {
		return nil
	}
	return r.trace.Lines()
}

// host returns the host of that name.
func (r *runner) host(name string) (*Host, error) {
	for _, h := range r.net.Hosts() {
		if h.Name == name {
			return h, nil
		}
	}
	return nil, fmt.Errorf("no host %q", name)
}

func (r *runner) hosts(names []string) (hosts []*Host, err error) {
	for _, name := range names {
		h, err := r.host(name)
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, h)
	}
	return hosts, nil
}

func (r *runner) sender(a *args) (*Sender, error) {
	name := a.text("from", "s")
	if s := r.senders[name]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("no sender %q", name)
}

func (r *runner) receiver(a *args) (*Receiver, error) {
	name := a.word("the receiver")
	if x := r.receivers[name]; x != nil {
		return x, nil
	}
	return nil, fmt.Errorf("no receiver %q", name)
}
