package normtest

import (
	"fmt"
	"slices"
	"testing"
)

const sample = `# A comment before everything.
group receivers=1

send data=8   # a comment behind a command
run 1s
----
# A comment about the first line.
+1s a   # why
+2s b

run 2s
`

func TestScriptKeepsItsText(t *testing.T) {
	s := parseScript(sample)
	if got := s.String(); got != sample {
		t.Errorf("printed as\n%s\nwant\n%s", got, sample)
	}
	var commands []string
	for _, b := range s.blocks {
		for line, c := range b.commands {
			commands = append(commands, fmt.Sprint(line, " ", c))
		}
	}
	want := []string{"2 group receivers=1", "4 send data=8", "5 run 1s", "11 run 2s"}
	if len(s.blocks) != 2 || !slices.Equal(commands, want) {
		t.Errorf("%d blocks with %q, want 2 with %q", len(s.blocks), commands, want)
	}
}

func TestScriptComparesWithoutComments(t *testing.T) {
	b := &block{want: []string{"# about a", "+1s a   # why", "+2s b"}}
	for _, test := range []struct {
		got  []string
		same bool
	}{
		{[]string{"+1s a", "+2s b"}, true},
		{[]string{"+1s a"}, false},
		{[]string{"+1s a", "+2s c"}, false},
		{[]string{"+1s a", "+2s b", "+3s c"}, false},
	} {
		if d := b.difference(test.got); (d == "") != test.same {
			t.Errorf("%q: difference %q", test.got, d)
		}
	}
}

func TestUpdateKeepsComments(t *testing.T) {
	b := &block{want: []string{"# about a", "+1s a   # why", "+2s b", "# about c", "+3s c  # end"}}
	b.update([]string{"+1.5s a", "+2s new", "+3s c"})
	want := []string{"# about a", "+1.5s a   # why", "+2s new", "# about c", "+3s c  # end"}
	if !slices.Equal(b.want, want) {
		t.Errorf("got  %q\nwant %q", b.want, want)
	}
}
