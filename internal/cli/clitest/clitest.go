// Package clitest runs testscripts of commands, with some commands more than testscript has:
//
//	refused PROGRAM ARGS…    runs a program that ends with status 2, one line on stderr and none on stdout
//	status N PROGRAM ARGS…   runs a program that ends with status N
//	occupy udp|tcp NAME      takes a port of 127.0.0.1 until the script ends, and puts its number into $NAME
package clitest

import (
	"errors"
	"net"
	"os/exec"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// Params returns what [testscript.Run] is given to run the scripts in a directory.
func Params(dir string) testscript.Params {
	return testscript.Params{Dir: dir, Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"refused": refused,
		"status":  status,
		"occupy":  occupy,
	}}
}

func refused(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: refused PROGRAM ARGS…")
	}
	wantStatus(ts, 2, args)
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("stdout is not empty: %q", out)
	}
	if said := ts.ReadFile("stderr"); strings.Count(said, "\n") != 1 || !strings.HasSuffix(said, "\n") {
		ts.Fatalf("stderr is not one line: %q", said)
	}
}

func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N PROGRAM ARGS…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	wantStatus(ts, want, args[1:])
}

func occupy(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: occupy udp|tcp NAME")
	}
	var addr net.Addr
	switch args[0] {
	case "udp":
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		ts.Check(err)
		ts.Defer(func() { c.Close() })
		addr = c.LocalAddr()
	case "tcp":
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		ts.Defer(func() { l.Close() })
		addr = l.Addr()
	default:
		ts.Fatalf("occupy %s: want udp or tcp", args[0])
	}
	_, port, err := net.SplitHostPort(addr.String())
	ts.Check(err)
	ts.Setenv(args[1], port)
}

func wantStatus(ts *testscript.TestScript, want int, args []string) {
	err := ts.Exec(args[0], args[1:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}
