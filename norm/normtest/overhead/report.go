package overhead

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/multicast-upgrade/tool/norm/fec"
)

// A Mode is a way to repair.
type Mode struct {
	Name       string
	Code       fec.Params
	AutoParity int
}

// Modes returns the ways to repair that the tables compare. All but the last two have the default code.
func Modes() []Mode {
	code := fec.Default()
	none := fec.Params{ID: fec.NoCode, MaxBlockLen: code.MaxBlockLen}
	return []Mode{
		{"adaptive", code, 0},
		{"on demand", code, -1},
		{"fixed, 8", code, 8},
		{"no parity", none, -1},
	}
}

var (
	losses = []float64{0.001, 0.01, 0.05, 0.1, 0.2}
	groups = []int{4, 100, 10_000}
	codes  = []string{"rs8:64,32", "rs8:64,191", "rs8:128,127", "rs8:200,55", "rs16:400,200"}
)

// blocks returns how many blocks of k segments are sent: few to large groups, so that a table takes minutes, but enough for
// adaptive parity to learn.
func blocks(receivers, k int) int {
	switch {
	case receivers < 10:
		return 51_200 / k
	case receivers < 1000:
		return 20_480 / k
	}
	return 10_240 / k
}

// A Report measures tables and writes them as Markdown.
type Report struct {
	W    io.Writer
	Seed uint64

	Receivers int     // if not zero, only the rows of groups of this size
	Loss      float64 // if not zero, only the rows of this loss
	Rows      int     // that were written

	lossless map[fec.Params]Result
}

// relative returns the bytes sent for each that the same takes without loss and without parity unasked, for one receiver.
func (r *Report) relative(got Result) (float64, error) {
	base, ok := r.lossless[got.Code]
	if !ok {
		var err error
		if base, err = (Case{Code: got.Code, AutoParity: -1, Receivers: 1, Blocks: 16, Seed: 1}).Measure(); err != nil {
			return 0, err
		}
		if r.lossless == nil {
			r.lossless = make(map[fec.Params]Result)
		}
		r.lossless[got.Code] = base
	}
	return float64(got.Sender.Bytes) / float64(base.Sender.Bytes) * float64(base.Blocks) / float64(got.Blocks), nil
}

// row measures a case and writes a row of a table that begins with the given cells.
func (r *Report) row(c Case, cells ...string) (Result, error) {
	c.Seed, c.Blocks = r.Seed, blocks(c.Receivers, c.Code.MaxBlockLen)
	got, err := c.Measure()
	if err != nil {
		return got, err
	}
	bytes, err := r.relative(got)
	if err != nil {
		return got, err
	}
	r.Rows++
	_, err = fmt.Fprintf(r.W, "| %s | %.4f | %.4f | %.4f | %.2f | %.1f | %.2f |\n", strings.Join(cells, " | "),
		bytes, got.Segments(), got.Least(), float64(got.Sender.Parity)/float64(got.Blocks), got.NacksPerCycle(), float64(got.Nacks)/float64(got.Blocks))
	return got, err
}

// leavesOut reports whether the rows of so many receivers and this loss are not asked for.
func (r *Report) leavesOut(n int, p float64) bool {
	return r.Receivers != 0 && n != r.Receivers || r.Loss != 0 && p != r.Loss
}

const columns = " Bytes | Segments | Least | Unasked | NACKs per event | NACKs per block |\n"

func percent(p float64) string { return fmt.Sprintf("%g %%", 100*p) }

// Quick measures the default at 5 % loss and 4 receivers.
func (r *Report) Quick() error {
	fmt.Fprint(r.W, "| Repair | Receivers | Loss |"+columns+"| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, m := range Modes()[:2] {
		if _, err := r.row(Case{Code: m.Code, AutoParity: m.AutoParity, Receivers: 4, Loss: 0.05}, m.Name, "4", "5 %"); err != nil {
			return err
		}
	}
	return nil
}

// Modes measures the ways to repair against loss and group size, and draws what they send to 100 receivers.
func (r *Report) Modes(svg io.Writer) error {
	fmt.Fprint(r.W, "| Receivers | Loss | Repair |"+columns+"| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	drawn := make(map[string][]float64)
	for _, n := range groups {
		for _, p := range losses {
			for _, m := range Modes() {
				if r.leavesOut(n, p) || n > 100 && (m.Code.MaxParity == 0 || m.AutoParity > 0 || p == 0.001 || p == 0.1) {
					continue // these take long, and tell nothing new
				}
				got, err := r.row(Case{Code: m.Code, AutoParity: m.AutoParity, Receivers: n, Loss: p}, fmt.Sprint(n), percent(p), m.Name)
				if err != nil {
					return err
				}
				if n == 100 {
					drawn[m.Name] = append(drawn[m.Name], got.Segments())
				}
			}
			if n == 100 {
				k := fec.Default().MaxBlockLen
				drawn["least"] = append(drawn["least"], Least(k, n, p)/float64(k))
			}
		}
	}
	return draw(svg, drawn)
}

// Codes measures codes against loss and group size, with adaptive parity.
func (r *Report) Codes() error {
	fmt.Fprint(r.W, "| Receivers | Loss | Code |"+columns+"| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, n := range groups {
		for _, p := range []float64{0.01, 0.05, 0.2} {
			for _, name := range codes {
				if r.leavesOut(n, p) || n > 100 && p != 0.05 {
					continue
				}
				code, err := fec.ParseSpec(name)
				if err != nil {
					return err
				}
				if _, err := r.row(Case{Code: code, Receivers: n, Loss: p}, fmt.Sprint(n), percent(p), "`"+name+"`"); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// draw draws segments sent for each one of content against loss, one line for each name.
func draw(w io.Writer, lines map[string][]float64) error {
	const width, height, left, bottom, top = 640, 360, 60, 320, 20
	const most = 2.5
	x := func(p float64) float64 { return left + (math.Log10(p)+3)/(math.Log10(0.2)+3)*(width-left-140) }
	y := func(v float64) float64 { return bottom - (min(v, most)-1)/(most-1)*(bottom-top) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text x="%d" y="14">segments sent for each one of content, 100 receivers</text>`+"\n", left)
	for v := 1.0; v <= most; v += 0.25 {
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%.2f</text>`+"\n", left, y(v), width-140, left-6, y(v)+4, v)
	}
	for _, p := range losses {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x(p), bottom+18, percent(p))
	}
	colours := []struct{ name, stroke string }{
		{"no parity", "#b00"}, {"fixed, 8", "#c80"}, {"on demand", "#08a"}, {"adaptive", "#070"}, {"least", "#000"},
	}
	for i, c := range colours {
		var path []string
		for j, v := range lines[c.name] {
			path = append(path, fmt.Sprintf("%.1f %.1f", x(losses[j]), y(v)))
		}
		dash := ""
		if c.name == "least" {
			dash = ` stroke-dasharray="3 3"`
		}
		fmt.Fprintf(&b, `<path d="M%s" fill="none" stroke="%s" stroke-width="2"%s/>`+"\n", strings.Join(path, "L"), c.stroke, dash)
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s">%s</text>`+"\n", width-130, top+20+18*i, c.stroke, c.name)
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}
