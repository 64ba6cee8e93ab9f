package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/multicast-upgrade/tool/internal/netns"
)

// A system is something that brings a file to receivers.
type system struct {
	name string
	// prepare returns why the system cannot be measured, or nil. It is called once.
	prepare func(l *lab) error
	// receive is the command of a receiver that writes beneath dir, and send that of the sender.
	receive func(l *lab, dir string) []string
	send    func(l *lab, t trial) []string
	ready   *regexp.Regexp // said by a receiver that listens
	done    *regexp.Regexp // said by one that has the file; nil: it ends then
	file    string         // pattern beneath dir of the file's path
}

const (
	group = "239.77.9.1"
	port  = "6003"
)

// The estimate of the round trip time is 20 ms, and segments are of 1400 bytes, for all that can be told so. Socket buffers
// are what each asks for by itself, or 8 MiB where it is to be told.
var systems = []*system{
	{
		name:    "norm",
		prepare: (*lab).build,
		receive: func(l *lab, dir string) []string {
			// Two files, so that it is still there when the first is complete.
			return []string{l.program("normrecv"), "file", "--json", "--group", group + ":" + port, "--interface", netns.Interface, "--out", dir, "--count", "2"}
		},
		send: func(l *lab, t trial) []string {
			return []string{l.program("normsend"), "file", "--json", "--group", group + ":" + port, "--interface", netns.Interface,
				"--rate", t.rateFlag(), "--grtt", "20ms", "--group-size", "10", t.image.path}
		},
		ready: regexp.MustCompile(`"event":"listening"`),
		done:  regexp.MustCompile(`"event":"complete"`),
		file:  "image-*",
	},
	{
		name:    "libnorm",
		prepare: compilePeer,
		receive: func(l *lab, dir string) []string {
			return []string{l.program("nrl"), "recv", group, port, "id=0", "iface=" + netns.Interface, "dir=" + dir}
		},
		send: func(l *lab, t trial) []string {
			return []string{l.program("nrl"), "send", group, port, "id=1", "iface=" + netns.Interface, "txport=6004",
				"segment=1400", "block=64", "parity=32", "grtt=0.02", "gsize=10", fmt.Sprintf("rate=%.0f", t.rate), "file:" + t.image.path + ":"}
		},
		ready: regexp.MustCompile(`"event":"ready"`),
		done:  regexp.MustCompile(`"event":"completed"`),
		file:  "*",
	},
	{
		name:    "uftp",
		prepare: func(*lab) error { return installed("uftp", "uftpd") },
		receive: func(l *lab, dir string) []string {
			return []string{"uftpd", "-d", "-D", dir, "-I", netns.Interface, "-M", group, "-B", "8388608"}
		},
		send: func(l *lab, t trial) []string {
			return []string{"uftp", "-R", fmt.Sprintf("%.0f", t.rate/1000), "-M", group, "-P", "239.77.9.2", "-I", netns.Interface,
				"-b", "1400", "-B", "8388608", "-r", "0.02", t.image.path}
		},
		ready: regexp.MustCompile(`fingerprint`),
		done:  regexp.MustCompile(`(?i)group complete|complete`),
		file:  "image-*",
	},
	{
		name:    "udpcast",
		prepare: func(*lab) error { return installed("udp-sender", "udp-receiver") },
		receive: func(l *lab, dir string) []string {
			return []string{"udp-receiver", "--file", filepath.Join(dir, "image"), "--interface", netns.Interface, "--nokbd", "--no-progress",
				"--nosync", "--exit-wait", "0"}
		},
		send: func(l *lab, t trial) []string {
			return []string{"udp-sender", "--file", t.image.path, "--interface", netns.Interface, "--nokbd", "--no-progress",
				"--min-receivers", fmt.Sprint(t.receivers), "--max-bitrate", fmt.Sprintf("%.0fk", t.rate/1000)}
		},
		ready: regexp.MustCompile(`(?i)udp receiver`),
		file:  "image",
	},
}

// compilePeer makes the libnorm node that the interoperability tests use.
func compilePeer(l *lab) error {
	flags, err := output(l.ctx, "pkg-config", "--cflags", "--libs", "norm")
	if err != nil {
		flags = "-lnorm"
	}
	args := append([]string{"-std=c++17", "-O2", "-o", l.program("nrl"), filepath.Join(l.source, "interop", "peers", "nrl.cpp")}, strings.Fields(flags)...)
	if _, err := output(l.ctx, "g++", args...); err != nil {
		return fmt.Errorf("needs g++ and libnorm-dev: %w", err)
	}
	return nil
}

// installed returns which of the programs is missing, or nil.
func installed(programs ...string) error {
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			return fmt.Errorf("%s is not installed", p)
		}
	}
	return nil
}
