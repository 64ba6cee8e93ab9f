package scale

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// DrawPlots writes the pictures of docs/scale.md that can be made of the rows into a directory.
func DrawPlots(dir string, rows []Row) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, p := range plots(rows) {
		if err := os.WriteFile(filepath.Join(dir, p.Name+".svg"), []byte(p.SVG()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func plots(rows []Row) (plots []Plot) {
	for _, make := range []func([]Row) Plot{eventPlot, lossPlot, senderPlot, tailPlot} {
		p := make(rows)
		p.Series = slices.DeleteFunc(p.Series, func(s Series) bool { return len(s.Points) == 0 })
		if len(p.Series) > 0 {
			plots = append(plots, p)
		}
	}
	return plots
}

var receiversAxis = Axis{Min: 8, Max: 130_000, Log: true, Marks: []float64{10, 100, 1000, 10_000, 100_000},
	Format: func(v float64) string { return thousands(int(v)) }}

// eventPlot is suppression against the size of the group.
func eventPlot(rows []Row) Plot {
	p := Plot{
		Name: "scale-suppression", Title: "NACKs that one loss shared by the whole group costs",
		XLabel: "receivers, of which each lost the same segment (K = 4, gsize right)", YLabel: "NACKs per repair event",
		X: receiversAxis, Y: Axis{Max: 10, Marks: []float64{0, 2, 4, 6, 8, 10}},
	}
	measured := Series{Name: "measured: median of 5 seeds, least and most"}
	rfc, exact := Series{Name: "RFC 5401", Dashed: true, Colour: 1}, Series{Name: "its backoff exactly", Dashed: true, Colour: 2}
	for _, group := range byReceivers(of(rows, "event")) {
		x, values := float64(group[0].Receivers), perEvent(group)
		measured.Points = append(measured.Points, Point{x, median(values), slices.Min(values), slices.Max(values)})
		rfc.Points = append(rfc.Points, Point{X: x, Y: group[0].RFC})
		exact.Points = append(exact.Points, Point{X: x, Y: group[0].Exact})
	}
	p.Series = []Series{measured, rfc, exact}
	return p
}

// lossPlot is NACKs against independent loss, for several sizes of group.
func lossPlot(rows []Row) Plot {
	p := Plot{
		Name: "scale-loss", Title: "NACKs where each receiver loses packets by itself",
		XLabel: "independent loss at each receiver (K = 4, gsize right, multicast feedback)", YLabel: "NACKs per repair event",
		X: Axis{Min: 0.0008, Max: 0.25, Log: true, Marks: []float64{0.001, 0.01, 0.05, 0.2}, Format: func(v float64) string { return fmt.Sprintf("%g %%", 100*v) }},
		Y: Axis{Min: 1, Max: 1000, Log: true, Marks: []float64{1, 10, 100, 1000}},
	}
	for i, receivers := range []int{100_000, 1000, 100, 10} {
		s := Series{Name: thousands(receivers) + " receivers", Colour: i}
		for _, r := range rows {
			if (r.Suite == "grid" || r.Suite == "large") && r.Loss.Kind == LossIndependent && r.K == 4 && r.GroupSize == r.Receivers &&
				r.Receivers == receivers && !r.Unicast {
				s.Points = append(s.Points, Point{X: r.Loss.Share, Y: r.PerEvent})
			}
		}
		slices.SortFunc(s.Points, func(a, b Point) int { return cmp.Compare(a.X, b.X) })
		p.Series = append(p.Series, s)
	}
	return p
}

// senderPlot is what a group costs its sender, in proportion to a group of ten.
func senderPlot(rows []Row) Plot {
	p := Plot{
		Name: "scale-sender", Title: "What the sender does and holds, compared with a group of ten",
		XLabel: "receivers, with equal need for repair", YLabel: "times that of 10 receivers",
		X: receiversAxis, Y: Axis{Max: 1.5, Marks: []float64{0, 0.5, 1, 1.5}},
	}
	rows = of(rows, "sender")
	for i, s := range []struct {
		name string
		of   func(w *Work) float64
	}{
		{"calls a second", func(w *Work) float64 { return float64(w.Calls) / w.Seconds }},
		{"datagrams sent a second", func(w *Work) float64 { return float64(w.Sent) / w.Seconds }},
		{"bytes held", func(w *Work) float64 { return float64(w.Heap) }},
	} {
		series := Series{Name: s.name, Colour: i}
		for _, r := range rows {
			series.Points = append(series.Points, Point{X: float64(r.Receivers), Y: s.of(r.Work) / s.of(rows[0].Work)})
		}
		p.Series = append(p.Series, series)
	}
	return p
}

// tailPlot is who waits how long for the last repairs.
func tailPlot(rows []Row) Plot {
	p := Plot{
		Name: "scale-tail", Title: "How long the last receivers wait",
		XLabel: "seconds after all was sent once (1 % independent loss, 10 Mbit/s, GRTT 100 ms)", YLabel: "receivers still incomplete",
		X: Axis{Max: 4, Marks: []float64{0, 1, 2, 3, 4}},
		Y: Axis{Min: 0.000008, Max: 1, Log: true, Marks: []float64{0.00001, 0.0001, 0.001, 0.01, 0.1, 1},
			Format: func(v float64) string { return fmt.Sprintf("%g %%", 100*v) }},
	}
	for i, r := range of(rows, "transfer") {
		s := Series{Name: fmt.Sprintf("%s receivers, %g MB", thousands(r.Receivers), float64(r.Size)/1e6), Colour: i}
		for j, share := range Shares {
			if share < 1 {
				s.Points = append(s.Points, Point{X: r.Tail[j] - r.Sent, Y: 1 - share})
			}
		}
		s.Points = append(s.Points, Point{X: r.Tail[len(Shares)-1] - r.Sent, Y: 1 / float64(r.Receivers)})
		p.Series = append(p.Series, s)
	}
	return p
}
