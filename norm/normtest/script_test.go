package normtest

import (
	"slices"
	"strings"
	"testing"
)

// lines runs a script and returns what it printed.
func lines(t *testing.T, text string) []string {
	t.Helper()
	s := parseScript(text)
	if err := s.run(true); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range s.blocks {
		got = append(got, b.want...)
	}
	return got
}

// TestStrangersNacksReadAsWritten: a script says a NACK in the words in which a trace prints it.
func TestStrangersNacksReadAsWritten(t *testing.T) {
	for _, request := range []string{
		"segment 1/0/8", "segment 1/0/8-10", "block 1/2", "block 1/2-4", "object 7", "object 65535-2", "info 1",
		"info 1, segment 1/0/8-10, block 1/1, object 2",
	} {
		got := lines(t, "group receivers=0\ntrace -flush\nnack x "+request)
		if want := []string{"+0s x > NACK " + request}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestScriptErrors(t *testing.T) {
	for _, test := range []struct{ script, want string }{
		{"run 1s", "1: run 1s: a script begins with the command group"},
		{"group receivers=1\n# comment\nfly", "3: fly: no such command"},
		{"group wings=2", "1: group wings=2: wings= means nothing here"},
		{"group receivers=many", "receivers=many: "},
		{"group receivers=1\nrun", "2: run: "},
		{"group receivers=1\nkill r2", `2: kill r2: no host "r2"`},
		{"group receivers=1\nsend data=1 fast", `"fast" means nothing here`},
		{"group receivers=1\ntrace +tea", "no kind of line is called"},
		{"group receivers=1\nnack x everything 1", "want object, info, block or segment"},
		{"group receivers=1\nnack x block 1/2/3", "block takes 2 numbers"},
		{"group receivers=1\nshow stats s Speed", `no counter "Speed"`},
		{"group receivers=1\ndrop *\nsend data=1\nrun 1s until complete", "4: run 1s until complete: not complete after 1s"},
		{"group k=1", "BackoffFactor 1"},
		{"group receivers=1\nsend data=1\nrun 10ms\n----\n+1s something else", "3: output line 1 is"},
	} {
		err := parseScript(test.script).run(false)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: error %v, want %q", test.script, err, test.want)
		}
	}
}

// TestTraceJoinsRuns: repeated lines and successive segments are written once, up to the next other line.
func TestTraceJoinsRuns(t *testing.T) {
	got := lines(t, "group receivers=0 robust=3 trace=data\nsend object=1 data=10\nsend object=2 data=2\nrun 2s")
	want := []string{
		"+0s s > DATA 1/0/0", "+6ms ... 9 more, to 1/1/4", "+6ms s > DATA 2/0/0", "+7ms ... 1 more, to 2/0/1",
		"+8ms s > CMD(FLUSH) 2/0/1", "+432ms ... 2 more", "+643ms s = flushed",
	}
	if len(got) != len(want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for i := range got {
		if untimed(got[i]) != untimed(want[i]) {
			t.Errorf("line %d is %q, want %q", i, got[i], want[i])
		}
	}
}
