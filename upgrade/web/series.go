package web

import (
	"encoding/json"

	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A seriesJSON is what the plots are made of: columns of one length, in the units of their axes.
type seriesJSON struct {
	Time    []int64    `json:"time"`    // seconds since 1970
	Loss    []*float64 `json:"loss"`    // percent of datagrams, the mean of all devices; null: not known
	Worst   []*float64 `json:"worst"`   // and of the device that loses most
	Nacks   []float64  `json:"nacks"`   // per second
	Repairs []float64  `json:"repairs"` // segments per second
	Rate    []float64  `json:"rate"`    // Mbit/s
	Over    bool       `json:"over"`    // nothing more will come
}

func columns(samples []fleet.Sample) seriesJSON {
	out := seriesJSON{Time: []int64{}} // never null
	for _, x := range samples {
		out.Time = append(out.Time, x.At.Unix())
		var loss, worst *float64
		if x.Reporting > 0 {
			loss, worst = new(100*x.Loss), new(100*x.WorstLoss)
		}
		out.Loss, out.Worst = append(out.Loss, loss), append(out.Worst, worst)
		out.Nacks, out.Repairs = append(out.Nacks, x.Nacks), append(out.Repairs, x.Repairs)
		out.Rate = append(out.Rate, x.Rate/1e6)
	}
	return out
}

func (s *Site) series(v *visit, c store.Campaign) error {
	samples, err := s.fleet.Series(v.r.Context(), c.ID)
	if err != nil {
		return err
	}
	out := columns(samples)
	out.Over = c.Phase == store.PhaseClosed
	v.w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(v.w).Encode(out)
}
