package scale

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// A Plot is drawn as SVG, readable on light and dark pages.
type Plot struct {
	Name           string // of the file, without its ending
	Title          string
	XLabel, YLabel string
	X, Y           Axis
	Series         []Series
}

// An Axis goes from Min to Max, evenly or in powers of ten, with marks and what is written at them.
type Axis struct {
	Min, Max float64
	Log      bool
	Marks    []float64
	Format   func(v float64) string // nil: %g
}

// A Series is points joined by a line.
type Series struct {
	Name   string
	Points []Point
	Dashed bool // a prediction
	Colour int  // 0 to 3
}

// A Point may have a range around it, from Low to High, if High is above zero.
type Point struct{ X, Y, Low, High float64 }

// place returns where v is on the axis, from 0 to 1.
func (a Axis) place(v float64) float64 {
	if a.Log {
		return math.Log(v/a.Min) / math.Log(a.Max/a.Min)
	}
	return (v - a.Min) / (a.Max - a.Min)
}

func (a Axis) text(v float64) string {
	if a.Format != nil {
		return a.Format(v)
	}
	return fmt.Sprintf("%g", v)
}

// The picture, in its own units, and the area within the axes.
const (
	width, height = 720, 400
	left, right   = 70, 700
	top, bottom   = 78, 340
)

const style = `<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 15px }
.grid { stroke: #d1d9e0; stroke-width: 1 }
.line { fill: none; stroke-width: 2 }
.dashed { stroke-dasharray: 6 4 }
.s0 { stroke: #0969da } .s1 { stroke: #bc4c00 } .s2 { stroke: #1a7f37 } .s3 { stroke: #8250df }
.d0 { fill: #0969da } .d1 { fill: #bc4c00 } .d2 { fill: #1a7f37 } .d3 { fill: #8250df }
@media (prefers-color-scheme: dark) {
text { fill: #d1d7e0 }
.grid { stroke: #3d444d }
.s0 { stroke: #58a6ff } .s1 { stroke: #f0883e } .s2 { stroke: #3fb950 } .s3 { stroke: #bc8cff }
.d0 { fill: #58a6ff } .d1 { fill: #f0883e } .d2 { fill: #3fb950 } .d3 { fill: #bc8cff }
}
</style>
`

// SVG returns the picture.
func (p Plot) SVG() string {
	var b strings.Builder
	put := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	x := func(v float64) float64 { return left + p.X.place(v)*(right-left) }
	y := func(v float64) float64 { return bottom - min(max(p.Y.place(v), 0), 1)*(bottom-top) }
	put(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="%s">`, width, height, html.EscapeString(p.Title))
	b.WriteString(style)
	put(`<text class="title" x="%d" y="24">%s</text>`, left, html.EscapeString(p.Title))
	for _, v := range p.Y.Marks {
		put(`<line class="grid" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/>`, left, y(v), right, y(v))
		put(`<text x="%d" y="%.1f" text-anchor="end">%s</text>`, left-8, y(v)+4, p.Y.text(v))
	}
	for _, v := range p.X.Marks {
		put(`<line class="grid" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`, x(v), top, x(v), bottom)
		put(`<text x="%.1f" y="%d" text-anchor="middle">%s</text>`, x(v), bottom+20, p.X.text(v))
	}
	put(`<text x="%d" y="%d" text-anchor="middle">%s</text>`, (left+right)/2, bottom+44, html.EscapeString(p.XLabel))
	put(`<text transform="translate(18 %d) rotate(-90)" text-anchor="middle">%s</text>`, (top+bottom)/2, html.EscapeString(p.YLabel))
	at := left
	for _, s := range p.Series {
		line := fmt.Sprintf("line s%d", s.Colour)
		if s.Dashed {
			line += " dashed"
		}
		put(`<line class="%s" x1="%d" y1="48" x2="%d" y2="48"/>`, line, at, at+24)
		put(`<text x="%d" y="52">%s</text>`, at+30, html.EscapeString(s.Name))
		at += 52 + 7*len([]rune(s.Name))
		var points []string
		for _, v := range s.Points {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(v.X), y(v.Y)))
		}
		put(`<polyline class="%s" points="%s"/>`, line, strings.Join(points, " "))
		for _, v := range s.Points {
			if v.High > 0 {
				put(`<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, line, x(v.X), y(v.Low), x(v.X), y(v.High))
			}
			if !s.Dashed {
				put(`<circle class="d%d" cx="%.1f" cy="%.1f" r="4"/>`, s.Colour, x(v.X), y(v.Y))
			}
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}
