package cc

// depth is n, the number of loss intervals that count: 8 (RFC 4654, Section 5.4).
const depth = 8

// weights are w_0 to w_(n-1) of RFC 4654, Section 5.4.
var weights = [depth]float64{1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2}

// threshold is how far older intervals are discounted at the most, at once (RFC 4654, Section 5.5).
const threshold = 0.5

// A history is the loss intervals I_1 to I_n behind us, in packets, and the discount factor DF_i of each. The one that
// lasts, I_0, is an argument.
type history struct {
	interval [depth]float32 // I_1 first
	discount [depth]float32
	n        int8
	seed     int8 // where the synthetic first interval is, counted from 1; 0 if it is gone
}

// sums returns I_tot1 and W_tot1 of RFC 4654, Section 5.5.
func (h *history) sums() (total, weight float64) {
	for i := range h.n {
		w := weights[i] * float64(h.discount[i])
		total += float64(h.interval[i]) * w
		weight += w
	}
	return total, weight
}

// general returns DF, the general discount factor while I_0 is current: "If I_0 is greater than twice I_mean [...] the
// general discount factor DF is updated to decrease the relative weight on the older intervals".
func (h *history) general(current float64) float64 {
	total, weight := h.sums()
	if mean := total / weight; current > 2*mean {
		return max(2*mean/current, threshold)
	}
	return 1
}

// loss returns the loss event fraction p, zero if nothing was lost yet.
func (h *history) loss(current float64) float64 {
	if h.n == 0 {
		return 0
	}
	df := h.general(current)
	with, withWeight := current*weights[0], weights[0]
	for i := range min(h.n, depth-1) {
		w := weights[i+1] * float64(h.discount[i]) * df
		with += float64(h.interval[i]) * w
		withWeight += w
	}
	without, withoutWeight := h.sums()
	return min(withWeight/with, withoutWeight/without, 1)
}

// end ends the current interval: "the current interval shifts from I_0 to I_1, loss interval I_i shifts to interval
// I_(i+1), and the loss interval I_n is forgotten".
func (h *history) end(current float64) {
	df := 1.0
	if h.n > 0 {
		df = h.general(current)
	}
	for i := min(h.n, depth-1); i > 0; i-- {
		h.interval[i], h.discount[i] = h.interval[i-1], float32(df)*h.discount[i-1]
	}
	h.interval[0], h.discount[0] = float32(current), 1
	h.n = min(h.n+1, depth)
	if h.seed > 0 {
		h.seed = (h.seed + 1) % (depth + 1)
	}
}

// begin makes the synthetic interval the first one.
func (h *history) begin(first float64) {
	h.end(first)
	h.seed = 1
}

// rescale corrects the synthetic interval, if it still counts: "l_0 = l_0 * (R/R_max)^2".
func (h *history) rescale(ratio float64) {
	if h.seed > 0 {
		h.interval[h.seed-1] = max(h.interval[h.seed-1]*float32(ratio*ratio), 1)
	}
}
