package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

const barWidth = 24

// A Progress draws lines that are rewritten while something goes on, if its output is a terminal; elsewhere it only
// prints what Line is given. Safe for concurrent use.
type Progress struct {
	out      io.Writer
	terminal bool
	start    time.Time

	mu    sync.Mutex
	last  time.Time // guarded by mu
	drawn int       // lines that are to be rewritten; guarded by mu
}

// NewProgress returns a Progress that writes to out.
func NewProgress(out io.Writer) *Progress {
	f, ok := out.(*os.File)
	return &Progress{out: out, terminal: ok && term.IsTerminal(int(f.Fd())), start: time.Now()}
}

// Terminal reports whether a person looks.
func (p *Progress) Terminal() bool { return p.terminal }

// Update redraws one line, at most ten times a second: what is going on, how many of how many bytes, and a remark.
func (p *Progress) Update(what string, done, total int64, remark string) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn > 0 && now.Sub(p.last) < 100*time.Millisecond && done < total {
		return
	}
	p.last = now
	p.draw(progressLine(what, done, total, now.Sub(p.start), remark))
}

// Table redraws some lines. Those that do not fit into the terminal are left out.
func (p *Progress) Table(lines []string) {
	if f, ok := p.out.(*os.File); ok {
		if width, height, err := term.GetSize(int(f.Fd())); err == nil {
			lines = fit(lines, width, height-1)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.draw(lines...)
}

// fit cuts lines to a width, and leaves out the last ones, so that none is wrapped or scrolled away.
func fit(lines []string, width, height int) []string {
	if len(lines) > height && height > 1 {
		lines = append(lines[:height-1:height-1], fmt.Sprintf("… and %d more lines", len(lines)-height+1))
	}
	for i, line := range lines {
		if runes := []rune(line); len(runes) > width && width > 1 {
			lines[i] = string(runes[:width-1]) + "…"
		}
	}
	return lines
}

// draw writes lines over those drawn before. mu is held.
func (p *Progress) draw(lines ...string) {
	if !p.terminal {
		return
	}
	p.clear()
	fmt.Fprint(p.out, strings.Join(lines, "\n"))
	p.drawn = len(lines)
}

// Line prints a line above those that are being rewritten.
func (p *Progress) Line(format string, args ...any) {
	fmt.Fprintf(p, format+"\n", args...)
}

// Write prints whole lines above those that are being rewritten.
func (p *Progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	return p.out.Write(b)
}

// Clear removes the lines that are being rewritten.
func (p *Progress) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

func (p *Progress) clear() {
	if p.drawn > 0 {
		fmt.Fprint(p.out, "\r\x1b[K"+strings.Repeat("\x1b[A\x1b[K", p.drawn-1))
		p.drawn = 0
	}
}

// bar draws how much of something is done.
func bar(share float64) string {
	full := int(min(max(share, 0), 1) * barWidth)
	return strings.Repeat("█", full) + strings.Repeat("░", barWidth-full)
}

func progressLine(what string, done, total int64, elapsed time.Duration, remark string) string {
	share := 0.0
	if total > 0 {
		share = float64(done) / float64(total)
	}
	line := fmt.Sprintf("%s %s %3.0f%% of %s", what, bar(share), share*100, HumanBytes(total))
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
