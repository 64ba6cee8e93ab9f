package scale

import (
	"fmt"
	"strings"
	"time"
)

// A Row is what is published of a run: what it was of, and what came of it. In JSON, durations are in seconds.
type Row struct {
	Suite     string  `json:"suite,omitempty"`
	Receivers int     `json:"receivers"`
	Size      int64   `json:"size"` // bytes
	Rate      float64 `json:"rate"` // bits per second
	GRTT      float64 `json:"grtt"` // first estimate
	K         int     `json:"k"`
	GroupSize int     `json:"gsize"`
	Code      string  `json:"code"` // source and parity symbols of a block
	Loss      Loss    `json:"loss"`
	Unicast   bool    `json:"unicast,omitempty"`
	Parity    int     `json:"parity,omitempty"` // SenderConfig.AutoParity
	Seed      uint64  `json:"seed"`

	Complete   int       `json:"complete"`
	Nacks      int       `json:"nacks"`
	Events     int       `json:"events"`            // aggregations of the sender that ended in repairs
	PerEvent   float64   `json:"nacks_per_event"`   //
	MostEvent  int       `json:"nacks_most"`        // in one event
	RFC        float64   `json:"predicted"`         // [Predicted]
	Exact      float64   `json:"expected"`          // [Expected]
	Adverts    int       `json:"adverts,omitempty"` // NORM_CMD(REPAIR_ADV)
	Acks       int       `json:"acks"`              // NORM_ACK(CC)
	Feedback   int       `json:"feedback"`          // bytes of all NORM_NACK and NORM_ACK
	Ignored    int       `json:"ignored"`           // NORM_NACKs that came too late to be of use
	Overhead   float64   `json:"overhead"`          // segments sent for each of the object
	Repairs    int       `json:"repairs"`           // segments
	Unasked    int       `json:"unasked"`           // segments of proactive parity
	Suppressed uint64    `json:"suppressed"`        // NACK cycles that ended without a NORM_NACK
	Sent       float64   `json:"sent"`              // until all was sent once
	Tail       []float64 `json:"tail"`              // until the share of the receivers had it that [Shares] says
	Handled    uint64    `json:"deliveries"`        // datagrams at receivers
	Idle       int64     `json:"heap_idle"`         // bytes for each receiver
	Active     int64     `json:"heap_active"`       // likewise, at most
	System     uint64    `json:"system"`            // bytes of the process
	Elapsed    float64   `json:"elapsed"`           // on a clock
	Work       *Work     `json:"sender,omitempty"`  // of a recorded run
}

// Shares are those of the receivers of which a [Row] has the time at which they were complete.
var Shares = [...]float64{0.5, 0.9, 0.99, 0.999, 0.9999, 1}

// Row returns what is published of a run.
func (r *Result) Row(suite string) Row {
	c := r.Config
	rfc, exact := r.prediction()
	row := Row{
		Suite: suite, Receivers: c.Receivers, Size: c.Size, Rate: r.Sender.Rate, GRTT: c.Sender.GRTT.Seconds(),
		K: c.Sender.BackoffFactor, GroupSize: c.Sender.GroupSize, Code: fmt.Sprintf("%d,%d", c.Sender.FEC.MaxBlockLen, c.Sender.FEC.MaxParity), Loss: c.Loss, Unicast: c.Unicast,
		Parity: c.Sender.AutoParity, Seed: c.Seed,
		Complete: r.Complete, Nacks: r.Nacks, Events: int(r.Sender.RepairCycles), PerEvent: r.PerEventMean(),
		RFC: rfc, Exact: exact, Adverts: r.Adverts, Acks: r.Acks, Feedback: r.FeedbackBytes,
		Ignored: int(r.Sender.NacksIgnored), Overhead: r.Overhead(), Repairs: int(r.Sender.Repairs), Unasked: int(r.Sender.Parity), Suppressed: r.Suppressed,
		Sent:    r.Sent.Seconds(),
		Handled: r.Deliveries, Idle: r.HeapIdle, Active: r.HeapActive, System: r.System, Elapsed: r.Elapsed.Seconds(),
	}
	for _, share := range Shares {
		row.Tail = append(row.Tail, r.Tail(share).Seconds())
	}
	for _, n := range r.PerEvent {
		row.MostEvent = max(row.MostEvent, n)
	}
	return row
}

// String returns the row for people.
func (r Row) String() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s", name)
		fmt.Fprintf(&b, format+"\n", args...)
	}
	feedback := "multicast"
	if r.Unicast {
		feedback = "unicast"
	}
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)).Round(time.Millisecond) }
	line("session", "%d receivers, %.4g MB at %.4g Mbit/s, GRTT %v, K %d, gsize %d, blocks of %s, loss %v, %s feedback, parity %d, seed %d",
		r.Receivers, float64(r.Size)/1e6, r.Rate/1e6, seconds(r.GRTT), r.K, r.GroupSize, r.Code, r.Loss, feedback, r.Parity, r.Seed)
	line("complete", "%d of %d, each symbol verified", r.Complete, r.Receivers)
	line("NACKs", "%d in %d repair events: %.2f each, at most %d (RFC 5401 expects %.2f, its backoff gives %.2f); %d came too late to be of use, %d were suppressed",
		r.Nacks, r.Events, r.PerEvent, r.MostEvent, r.RFC, r.Exact, r.Ignored, r.Suppressed)
	line("feedback", "%d bytes, %d NORM_ACK(CC), %d NORM_CMD(REPAIR_ADV)", r.Feedback, r.Acks, r.Adverts)
	line("segments", "%.4f sent for each of the object: %d repairs, %d of proactive parity", r.Overhead, r.Repairs, r.Unasked)
	line("time", "all sent once in %v; at half of the receivers in %v, at 99 %% in %v, at the last in %v",
		seconds(r.Sent), seconds(r.Tail[0]), seconds(r.Tail[2]), seconds(r.Tail[len(Shares)-1]))
	line("memory", "%d bytes for each receiver before, at most %d during the transfer; %d MiB in all", r.Idle, r.Active, r.System>>20)
	line("work", "%d datagrams handled in %v", r.Handled, seconds(r.Elapsed))
	if w := r.Work; w != nil {
		line("sender", "%.0f calls and %.1f datagrams handled a second, %d allocations, %d bytes held", float64(w.Calls)/w.Seconds,
			float64(w.Handled)/w.Seconds, w.Mallocs, w.Heap)
	}
	return b.String()
}
