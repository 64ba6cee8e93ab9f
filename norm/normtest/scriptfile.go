package normtest

import (
	"fmt"
	"slices"
	"strings"
)

// A script is a file of blocks: commands, a line "----", and what they print, up to an empty line.
type script struct{ blocks []*block }

// A block is one step of a script.
type block struct {
	head []string // commands, comments and empty lines, as they stand
	line int      // how many lines are before them
	runs bool     // "----" follows
	want []string // what stands below it, with comments
}

// separator divides commands from what they print.
const separator = "----"

func parseScript(text string) *script {
	s := new(script)
	b := new(block)
	for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		switch {
		case !b.runs && line == separator:
			b.runs = true
			s.blocks = append(s.blocks, b)
		case !b.runs:
			b.head = append(b.head, line)
		case line != "":
			b.want = append(b.want, line)
		default:
			b = &block{head: []string{""}, line: i}
		}
	}
	if !b.runs && len(b.head) > 0 {
		s.blocks = append(s.blocks, b)
	}
	return s
}

func (s *script) String() string {
	var out strings.Builder
	for _, b := range s.blocks {
		for _, line := range b.head {
			fmt.Fprintln(&out, line)
		}
		if b.runs {
			fmt.Fprintln(&out, separator)
			for _, line := range b.want {
				fmt.Fprintln(&out, line)
			}
		}
	}
	return out.String()
}

// commands returns the lines of b to perform, by their line numbers.
func (b *block) commands(yield func(line int, command string) bool) {
	for i, line := range b.head {
		if c := uncomment(line); c != "" && !yield(b.line+i+1, c) {
			return
		}
	}
}

// uncomment cuts a comment off: "#" at the start or behind a space, to the end of the line.
func uncomment(line string) string {
	if strings.HasPrefix(line, "#") {
		return ""
	}
	line, _, _ = strings.Cut(line, " #")
	return strings.TrimRight(line, " ")
}

// difference returns where got departs from what b wants, comments aside, or "".
func (b *block) difference(got []string) string {
	var want []string
	for _, line := range b.want {
		if w := uncomment(line); w != "" {
			want = append(want, w)
		}
	}
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("line %d is missing: %s", i+1, want[i])
		case i >= len(want):
			return fmt.Sprintf("line %d is too much: %s", i+1, got[i])
		case got[i] != want[i]:
			return fmt.Sprintf("line %d is\n\t%s\nwant\n\t%s", i+1, got[i], want[i])
		}
	}
	return ""
}

// update makes got what b wants. The comments of lines that stay, be it at another time, are kept, and so are the whole
// lines of comment before them.
func (b *block) update(got []string) {
	var lines []string
	old := b.want
	for _, g := range got {
		if i := indexLine(old, g); i >= 0 {
			lines = append(lines, commentLines(old[:i])...)
			g += old[i][len(uncomment(old[i])):]
			old = old[i+1:]
		}
		lines = append(lines, g)
	}
	b.want = append(lines, commentLines(old)...)
}

// indexLine returns which line is text, times and comments aside, or -1.
func indexLine(lines []string, text string) int {
	return slices.IndexFunc(lines, func(line string) bool { return untimed(uncomment(line)) == untimed(text) })
}

// untimed cuts the time off a line of a trace.
func untimed(line string) string {
	if time, rest, ok := strings.Cut(line, " "); ok && strings.HasPrefix(time, "+") {
		return rest
	}
	return line
}

func commentLines(lines []string) (comments []string) {
	for _, line := range lines {
		if strings.HasPrefix(line, "#") {
			comments = append(comments, line)
		}
	}
	return comments
}
