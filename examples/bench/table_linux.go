package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

func (b *bench) title(format string, args ...any) {
	fmt.Fprintf(b.out, "\n### "+format+"\n\n", args...)
}

func (b *bench) note(format string, args ...any) { fmt.Fprintf(b.out, "\n"+format+"\n", args...) }

// heads prints the head of a table of outcomes.
func (b *bench) heads() {
	columns := []string{"receivers", "loss %", "MB", "what", "rate set", "goodput", "ours ÷ it", "CPU s/GB sender", "receiver", "MiB sender", "receiver",
		"bytes sent ÷ file", "packets", "feedback", "overruns", "failed"}
	fmt.Fprintf(b.out, "| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat(" ---: |", len(columns)))
}

// rows prints what became of a case.
func (b *bench) rows(t trial, all []rated) {
	for _, s := range all {
		if s.err != nil {
			fmt.Fprintf(b.out, "| %s | %s | | | | | | | | | | | %v |\n", caseOf(t), s.name, s.err)
			continue
		}
		o, failed := median(s.runs)
		if o.err != nil {
			fmt.Fprintf(b.out, "| %s | %s | %s | | | | | | | | | | %d of %d: %v |\n", caseOf(t), s.name, mbits(s.rate), failed, len(s.runs), o.err)
			continue
		}
		fmt.Fprintf(b.out, "| %s | %s | %s | %s | %s | %.1f | %.1f | %.0f | %.0f | %.3f | %d | %d | %d | %d of %d |\n",
			caseOf(t), s.name, mbits(o.rate), mbits(o.goodput), ratio(all, o.goodput), o.sender.perGB(t.image), o.receiver.perGB(t.image),
			mib(o.sender.resident), mib(o.receiver.resident), float64(o.sent.bytes)/float64(t.image.size), o.sent.packets, o.feedback, o.overruns,
			failed, len(s.runs))
	}
}

// blastRow prints what the kernel carried.
func (b *bench) blastRow(t trial, how string, r blasted, all []rated) {
	names := map[string]string{"sendto": "raw sendto, recvfrom", "sendmmsg": "raw sendmmsg, recvmmsg", "gso": "raw GSO, GRO"}
	fmt.Fprintf(b.out, "| %s | %s | | %s | %s | %.1f | %.1f | | | | | | %.1f %% lost | |\n", caseOf(t), names[how], mbits(r.goodput),
		ratio(all, r.goodput), r.sender, r.receiver, 100*r.loss)
}

// ratio compares the median of ours, which is the first, with a goodput.
func ratio(all []rated, goodput float64) string {
	if len(all) == 0 || len(all[0].runs) == 0 || all[0].name != "norm" {
		return ""
	}
	ours, _ := median(all[0].runs)
	return fmt.Sprintf("%.2f", ours.goodput/goodput)
}

// caseOf is the first columns of a row.
func caseOf(t trial) string {
	return fmt.Sprintf("%d | %g | %d", t.receivers, t.loss, t.image.size/1e6)
}

func mbits(bitsPerSecond float64) string {
	if bitsPerSecond == 0 {
		return "auto"
	}
	return fmt.Sprintf("%.0f", bitsPerSecond/1e6)
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// progress says on the side what a trial was.
func (l *lab) progress(s *system, t trial, o outcome) {
	if o.err != nil {
		l.Logf("%-8s %d receivers, %g %%, %d MB, %s Mbit/s: %v", s.name, t.receivers, t.loss, t.image.size/1e6, mbits(t.rate), o.err)
		return
	}
	l.Logf("%-8s %d receivers, %g %%, %d MB, %s Mbit/s: %s Mbit/s", s.name, t.receivers, t.loss, t.image.size/1e6, mbits(t.rate), mbits(o.goodput))
}

// describeMachine says what it runs on.
func (b *bench) describeMachine() {
	var uts unix.Utsname
	unix.Uname(&uts)
	model := "unknown processor"
	info, _ := os.ReadFile("/proc/cpuinfo")
	for l := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	b.note("%d cores (%s), Linux %s, %s. Rates in Mbit/s; CPU seconds for a billion bytes of the file, of a sender with the kernel's work to reach "+
		"all receivers; bytes sent with Ethernet headers; the median of %d runs, in turn with those of the others.",
		runtime.NumCPU(), model, unix.ByteSliceToString(uts.Release[:]), runtime.Version(), b.runs)
}
