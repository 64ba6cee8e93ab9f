package upgrade

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk"
)

func TestSplitWords(t *testing.T) {
	for _, test := range []struct {
		line string
		want []string // nil: an error
	}{
		{"", []string{}},
		{"  /bin/true\t-x \n", []string{"/bin/true", "-x"}},
		{`a 'b c' "d e" f\ g`, []string{"a", "b c", "d e", "f g"}},
		{`'it'\''s' ""  ''`, []string{"it's", "", ""}},
		{`"a\"b\\c\$d\` + "`" + `e\xf"`, []string{`a"b\c$d` + "`" + `e\xf`}},
		{`'a\b"c'`, []string{`a\b"c`}},
		{`$HOME * ~ $(id) ; | & > x`, []string{"$HOME", "*", "~", "$(id)", ";", "|", "&", ">", "x"}},
		{"a\\\nb \"c\\\nd\"", []string{"ab", "cd"}},
		{`pre"fix"'ed'`, []string{"prefixed"}},
		{`a 'b`, nil},
		{`a "b`, nil},
		{`a "b\"`, nil},
		{`a \`, nil},
	} {
		got, err := SplitWords(test.line)
		if (err != nil) != (test.want == nil) || !slices.Equal(got, test.want) {
			t.Errorf("%q: %q, %v; want %q", test.line, got, err, test.want)
		}
	}
}

func FuzzSplitWords(f *testing.F) {
	f.Add(`a 'b c' "d\"e" f\ g`)
	f.Fuzz(func(t *testing.T, line string) {
		words, err := SplitWords(line)
		if err != nil {
			return
		}
		quoted := make([]string, len(words))
		for i, w := range words { // what a shell would be given to get these words
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		again, err := SplitWords(strings.Join(quoted, " "))
		if err != nil || !slices.Equal(again, words) {
			t.Errorf("%q: %q became %q, %v", line, words, again, err)
		}
	})
}

// TestMain lets the test program be the program that a hook runs.
func TestMain(m *testing.M) {
	switch arg := os.Getenv("UPGRADE_VERSION"); {
	case arg == "say":
		fmt.Println("args", strings.Join(os.Args[1:], "|"))
		env := os.Environ()
		slices.Sort(env)
		for _, e := range env {
			fmt.Fprintln(os.Stderr, e)
		}
		os.Exit(0)
	case arg == "fail":
		os.Exit(3)
	case arg == "not-active":
		os.Exit(75)
	case arg == "chatter":
		for range 1000 {
			fmt.Println(strings.Repeat("x", 5000))
		}
		os.Exit(0)
	case arg == "sleep":
		time.Sleep(time.Hour)
	case arg == "hang":
		child := exec.Command(os.Args[0])
		child.Env = []string{"UPGRADE_VERSION=child", "UPGRADE_MANIFEST=" + os.Getenv("UPGRADE_MANIFEST")}
		if err := child.Run(); err != nil {
			os.Exit(1)
		}
	case arg == "child":
		if d, err := disk.Open(os.Getenv("UPGRADE_MANIFEST")); err == nil {
			if _, err := d.Lock("child"); err == nil {
				disk.WriteFile(d, "started", nil, 0o600)
			}
		}
		time.Sleep(time.Hour)
	}
	os.Exit(m.Run())
}

func hooksOf(t *testing.T, args string) (*CommandHooks, *bytes.Buffer) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out := new(bytes.Buffer)
	return &CommandHooks{Verify: "'" + self + "' " + args, Timeout: 30 * time.Second,
		Log: slog.New(slog.NewTextHandler(out, nil))}, out
}

func TestHookIsExecutedWithoutAShellAndWithAClearedEnvironment(t *testing.T) {
	t.Setenv("SECRET", "of the agent")
	h, out := hooksOf(t, `'$HOME' a\ b`)
	c := HookContext{Device: "d1", Product: "router", Hardware: "r1", Version: "say", Images: []string{"/d/fw0", "/d/fw1"},
		Manifest: "/d/release", Digest: "abcd", Campaign: "0102", Activation: "77"}
	if err := h.Run(t.Context(), StepVerify, c); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"args $HOME|a b", "UPGRADE_IMAGE=/d/fw0", "UPGRADE_IMAGES=/d/fw0" + string(os.PathListSeparator) + "/d/fw1",
		"UPGRADE_VERSION=say", "UPGRADE_MANIFEST=/d/release", "UPGRADE_MANIFEST_DIGEST=abcd", "UPGRADE_CAMPAIGN=0102", "UPGRADE_ACTIVATION_ID=77", "UPGRADE_DEVICE=d1"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in the log:\n%s", want, out)
		}
	}
	if strings.Contains(out.String(), "SECRET") {
		t.Error("the hook has the agent's environment")
	}
}

func TestHookExitStatusDecides(t *testing.T) {
	h, _ := hooksOf(t, "")
	err := h.Run(t.Context(), StepVerify, HookContext{Version: "fail"})
	if _, ok := errors.AsType[*exec.ExitError](err); !ok || StepVerify.reason(err) != "verify-hook" {
		t.Errorf("a hook with exit status 3: %v, reason %s", err, StepVerify.reason(err))
	}
	h.Activate, h.Health = h.Verify, h.Verify
	for step, want := range map[Step]commit.Reason{StepHealth: commit.ReasonNotActive, StepActivate: commit.ReasonActivateHook} {
		if err := h.Run(t.Context(), step, HookContext{Version: "not-active"}); step.reason(err) != want {
			t.Errorf("a %s hook with exit status 75: %v, reason %s, want %s", step, err, step.reason(err), want)
		}
	}
}

func TestHookOutputIsBounded(t *testing.T) {
	h, out := hooksOf(t, "")
	if err := h.Run(t.Context(), StepVerify, HookContext{Version: "chatter"}); err != nil {
		t.Fatal(err)
	}
	if n := out.Len(); n < hookOutput || n > 2*hookOutput {
		t.Errorf("%d bytes were logged of 5 MB, want about %d", n, hookOutput)
	}
}

func TestHookTimeout(t *testing.T) {
	h, _ := hooksOf(t, "")
	h.Timeout = 100 * time.Millisecond
	err := h.Run(t.Context(), StepVerify, HookContext{Version: "sleep"})
	if !errors.Is(err, context.DeadlineExceeded) || StepVerify.reason(err) != "hook-timeout" {
		t.Errorf("a hook that does not end: %v", err)
	}
}

func TestHookIsKilledWithAllThatItStarted(t *testing.T) {
	h, _ := hooksOf(t, "")
	d, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for !exists(d, "started") {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if err := h.Run(ctx, StepVerify, HookContext{Version: "hang", Manifest: d.Path(".")}); !errors.Is(err, context.Canceled) {
		t.Errorf("a hook whose agent ends: %v", err)
	}
	// The child had the lock as long as it lived.
	for end := time.Now().Add(time.Minute); ; {
		lock, err := d.Lock("child")
		if err == nil {
			lock.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatal("what the hook has started lives on")
		}
	}
}

func TestHooksAreCheckedBeforehand(t *testing.T) {
	for _, h := range []CommandHooks{{Verify: "'unclosed"}, {Activate: "   "}, {Health: "/no/such/program"}} {
		if err := h.Check(); err == nil {
			t.Errorf("%+v passes", h)
		}
	}
	h, _ := hooksOf(t, "")
	if err := h.Check(); err != nil || !h.Has(StepVerify) || h.Has(StepActivate) {
		t.Errorf("%v, has verify %v, activate %v", err, h.Has(StepVerify), h.Has(StepActivate))
	}
}
