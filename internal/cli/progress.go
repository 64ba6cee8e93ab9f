package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

const barWidth = 24

// A Progress draws one line that is rewritten while something goes on, if its output is a terminal; elsewhere it only
// prints what Line is given.
type Progress struct {
	out      io.Writer
	terminal bool
	start    time.Time
	last     time.Time
	drawn    bool
}

// NewProgress returns a Progress that writes to out.
func NewProgress(out io.Writer) *Progress {
	f, ok := out.(*os.File)
	return &Progress{out: out, terminal: ok && term.IsTerminal(int(f.Fd())), start: time.Now()}
}

// Terminal reports whether a person looks.
func (p *Progress) Terminal() bool { return p.terminal }

// Update redraws the line, at most ten times a second: what is going on, how many of how many bytes, and a remark.
func (p *Progress) Update(what string, done, total int64, remark string) {
	now := time.Now()
	if !p.terminal || p.drawn && now.Sub(p.last) < 100*time.Millisecond && done < total {
		return
	}
	p.last, p.drawn = now, true
	fmt.Fprintf(p.out, "\r\x1b[K%s", progressLine(what, done, total, now.Sub(p.start), remark))
}

// Line prints a line above the one that is being rewritten.
func (p *Progress) Line(format string, args ...any) {
	p.Clear()
	fmt.Fprintf(p.out, format+"\n", args...)
}

// Clear removes the line.
func (p *Progress) Clear() {
	if p.drawn {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.drawn = false
	}
}

func progressLine(what string, done, total int64, elapsed time.Duration, remark string) string {
	share := 0.0
	if total > 0 {
		share = float64(done) / float64(total)
	}
	full := int(share * barWidth)
	bar := strings.Repeat("█", full) + strings.Repeat("░", barWidth-full)
	line := fmt.Sprintf("%s %s %3.0f%% of %s", what, bar, share*100, HumanBytes(total))
	if s := elapsed.Seconds(); s > 0.5 && done > 0 {
		rate := BitRate(float64(done) * 8 / s)
		line += fmt.Sprintf("  %sbit/s", rate.String())
		if done < total {
			left := time.Duration(float64(total-done) / float64(done) * float64(elapsed))
			line += fmt.Sprintf("  %v left", left.Round(time.Second))
		}
	}
	if remark != "" {
		line += "  " + remark
	}
	return line
}
