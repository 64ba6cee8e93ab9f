//go:build unix

// Package hooks tests the scripts of this directory with stand-ins for the update managers.
package hooks

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A machine is where hooks run: the programs it has write down how they are called, and answer as their file says.
type machine struct {
	t          *testing.T
	bin, state string
	activation string
}

// newMachine has stand-ins for the programs, and what few tools of the system the scripts call.
func newMachine(t *testing.T, programs ...string) *machine {
	t.Helper()
	m := &machine{t, t.TempDir(), filepath.Join(t.TempDir(), "state"), "one"}
	for _, name := range programs {
		// A program prints $STAND/NAME.out and ends with the status in $STAND/NAME.status.
		script := "#!/bin/sh\necho \"" + name + " $*\" >>" + m.bin + "/calls\ncat " + m.bin + "/" + name + ".out 2>/dev/null\n" +
			"exit $(cat " + m.bin + "/" + name + ".status 2>/dev/null || echo 0)\n"
		m.write(name, script, 0o755)
	}
	// The system goes down: whoever waits for that is ended.
	m.write("reboot", "#!/bin/sh\necho reboot >>"+m.bin+"/calls\nkill -9 $PPID\n", 0o755)
	for _, tool := range []string{"sed", "cat", "mkdir", "mv", "rm", "sync", "sleep"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Skipf("there is no %s", tool)
		}
		if err := os.Symlink(path, filepath.Join(m.bin, tool)); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func (m *machine) write(name, content string, perm os.FileMode) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.bin, name), []byte(content), perm); err != nil {
		m.t.Fatal(err)
	}
}

// run runs a step as the agent does, with no environment but its own, and returns what was called. A restart counts as success: the
// agent hears no more of it.
func (m *machine) run(script, step string) (calls string, ok bool) {
	m.t.Helper()
	path, err := filepath.Abs(script)
	if err != nil {
		m.t.Fatal(err)
	}
	os.Remove(filepath.Join(m.bin, "calls"))
	cmd := exec.CommandContext(m.t.Context(), path, step)
	cmd.Env = []string{"HOOK_PATH=" + m.bin, "HOOK_STATE=" + m.state, "UPGRADE_IMAGE=/stage/fw", "UPGRADE_ACTIVATION_ID=" + m.activation}
	var said bytes.Buffer
	cmd.Stderr = &said
	err = cmd.Run()
	b, _ := os.ReadFile(filepath.Join(m.bin, "calls"))
	calls = strings.ReplaceAll(strings.TrimSpace(string(b)), "\n", "; ")
	ok = err == nil || strings.HasSuffix(calls, "reboot")
	if !ok {
		m.t.Logf("%s %s: %v: %s", script, step, err, said.String())
	}
	return calls, ok
}

// want runs a step and holds what it calls.
func (m *machine) want(script, step, calls string, ok bool) {
	m.t.Helper()
	if got, went := m.run(script, step); got != calls || went != ok {
		m.t.Errorf("%s %s calls %q, ok %v; want %q, %v", script, step, got, went, calls, ok)
	}
}

const status = "rauc status --output-format=shell"

func TestRAUC(t *testing.T) {
	m := newMachine(t, "rauc")
	m.write("rauc.out", "RAUC_SYSTEM_COMPATIBLE='lamp'\nRAUC_SYSTEM_BOOTED_BOOTNAME='A'\n", 0o644)
	m.want("rauc.sh", "verify", "rauc info /stage/fw", true)
	m.want("rauc.sh", "health", "", false) // nothing is installed
	m.want("rauc.sh", "activate", status+"; rauc install /stage/fw; reboot", true)
	m.want("rauc.sh", "activate", "reboot", true) // again, as after a crash: it is not installed twice
	m.want("rauc.sh", "health", status, false)    // the boot loader has fallen back
	m.want("rauc.sh", "rollback", status, true)   // and there is nothing to go back from
	m.write("rauc.out", "RAUC_SYSTEM_BOOTED_BOOTNAME='B'\n", 0o644)
	m.want("rauc.sh", "health", status+"; rauc status mark-good", true)
	m.want("rauc.sh", "rollback", status+"; rauc status mark-bad booted; rauc status mark-active other; reboot", true)
	m.want("rauc.sh", "rollback", "", true)
	m.activation = "two"
	m.write("rauc.status", "1", 0o644)
	m.want("rauc.sh", "verify", "rauc info /stage/fw", false)
	m.want("rauc.sh", "activate", status+"; rauc install /stage/fw", false)
}

func TestSWUpdate(t *testing.T) {
	m := newMachine(t, "swupdate", "fw_printenv", "fw_setenv")
	m.want("swupdate.sh", "verify", "swupdate --check --image /stage/fw", true)
	m.want("swupdate.sh", "health", "", false)
	m.want("swupdate.sh", "activate", "swupdate --image /stage/fw; reboot", true)
	m.want("swupdate.sh", "activate", "reboot", true)
	m.write("fw_printenv.out", "1\n", 0o644)
	m.want("swupdate.sh", "health", "fw_printenv -n ustate; fw_setenv ustate 0", true)
	m.want("swupdate.sh", "rollback", "fw_printenv -n ustate; fw_setenv ustate 3; reboot", true)
	m.activation = "two"
	m.want("swupdate.sh", "activate", "swupdate --image /stage/fw; reboot", true)
	m.write("fw_printenv.out", "0\n", 0o644)
	m.want("swupdate.sh", "health", "fw_printenv -n ustate", true) // marked before the power went
	m.write("fw_printenv.out", "3\n", 0o644)
	m.want("swupdate.sh", "health", "fw_printenv -n ustate; fw_printenv -n ustate", false)
	m.activation = "three"
	m.write("swupdate.status", "1", 0o644)
	m.want("swupdate.sh", "verify", "swupdate --check --image /stage/fw", false)
	m.want("swupdate.sh", "activate", "swupdate --image /stage/fw", false)
}

func TestMender(t *testing.T) {
	m := newMachine(t, "mender-update")
	m.want("mender.sh", "health", "", false)
	m.write("mender-update.status", "4", 0o644) // a restart is needed
	m.want("mender.sh", "activate", "mender-update install --reboot-exit-code /stage/fw; reboot", true)
	m.want("mender.sh", "activate", "reboot", true)
	m.write("mender-update.status", "0", 0o644)
	m.want("mender.sh", "health", "mender-update commit", true)
	m.want("mender.sh", "health", "", true)
	m.want("mender.sh", "rollback", "", true) // what is committed stays
	m.activation = "two"
	m.want("mender.sh", "activate", "mender-update install --reboot-exit-code /stage/fw; reboot", true)
	m.write("mender-update.status", "2", 0o644)
	m.want("mender.sh", "health", "mender-update commit", false) // nothing to commit, and nobody has done it
	m.write("mender-update.status", "1", 0o644)
	m.want("mender.sh", "health", "mender-update commit", false)
	m.write("mender-update.status", "2", 0o644)
	m.want("mender.sh", "health", "mender-update commit", true) // the power went after the commit
	os.Remove(filepath.Join(m.state, "committed"))
	m.write("mender-update.status", "1", 0o644)
	m.want("mender.sh", "rollback", "mender-update rollback", false)
	m.write("mender-update.status", "0", 0o644)
	m.want("mender.sh", "rollback", "mender-update rollback; reboot", true)
	m.want("mender.sh", "rollback", "", true)
	m.activation = "three"
	m.write("mender-update.status", "1", 0o644)
	m.want("mender.sh", "activate", "mender-update install --reboot-exit-code /stage/fw", false)
}
