package api

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// healthTimeout is how long the store has to answer, for the server to be well.
const healthTimeout = 5 * time.Second

// Health answers 200 when the store answers and 503 when it does not. It is for everybody.
func (a *API) Health() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
		defer cancel()
		if _, err := a.store.LastEvent(ctx); err != nil {
			a.cfg.Log.Error("the store does not answer", "err", err)
			http.Error(w, "the store does not answer", http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "ok\n")
	})
}

// Metrics answers in the text format of Prometheus, to who has a token of role viewer.
func (a *API) Metrics() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var b bytes.Buffer
		_, err := a.admit(r, rule{role: store.RoleViewer})
		if err == nil {
			err = a.measure(r.Context(), &metrics{w: &b})
		}
		if err != nil {
			a.fail(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		w.Write(b.Bytes())
	})
}

// measure writes what there is to measure: of devices, of the campaigns that are open, and of the API itself.
func (a *API) measure(ctx context.Context, m *metrics) error {
	devices, err := a.store.CountDevices(ctx, store.DeviceFilter{})
	if err != nil {
		return err
	}
	m.family("normsend_devices", "gauge", "Devices in the registry, by the state of their key.")
	for _, state := range []store.KeyState{store.KeyNone, store.KeyPending, store.KeyApproved, store.KeyRevoked} {
		name := string(state)
		if state == store.KeyNone {
			name = "none"
		}
		m.sample(float64(devices[state]), "key", name)
	}
	last, err := a.store.LastEvent(ctx)
	if err != nil {
		return err
	}
	m.family("normsend_audit_events_total", "counter", "Entries ever made in the audit trail.")
	m.sample(float64(last))
	m.family("normsend_streams", "gauge", "Streams of server-sent events that are open.")
	m.sample(float64(len(a.streams)))
	m.family("normsend_uploads", "gauge", "Uploads of images that are under way.")
	m.sample(float64(len(a.uploads)))

	open, err := a.openCampaigns(ctx)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name, kind, help string
		value            func(fleet.Snapshot) float64
	}{
		{"normsend_campaign_targets", "gauge", "Targets of a campaign.", func(s fleet.Snapshot) float64 { return float64(s.Targets) }},
		{"normsend_campaign_joined", "gauge", "Targets that have shown themselves.", func(s fleet.Snapshot) float64 { return float64(s.Joined) }},
		{"normsend_campaign_ready", "gauge", "Targets that voted READY.", func(s fleet.Snapshot) float64 { return float64(s.Ready) }},
		{"normsend_campaign_committed", "gauge", "Targets that run the new image.", func(s fleet.Snapshot) float64 { return float64(s.Committed) }},
		{"normsend_campaign_rate_bits_per_second", "gauge", "What it may send with.", func(s fleet.Snapshot) float64 { return s.Sending.Rate }},
		{"normsend_campaign_sent_bytes", "gauge", "Bytes sent, the first time.", func(s fleet.Snapshot) float64 { return float64(s.Sending.Sent) }},
		{"normsend_campaign_total_bytes", "gauge", "Bytes to send.", func(s fleet.Snapshot) float64 { return float64(s.Sending.Total) }},
		{"normsend_campaign_nacks_total", "counter", "NACKs heard.", func(s fleet.Snapshot) float64 { return float64(s.Sending.Nacks) }},
		{"normsend_campaign_loss_ratio", "gauge", "Mean loss of the devices that hear it.", func(s fleet.Snapshot) float64 { return s.Loss }},
		{"normsend_campaign_worst_loss_ratio", "gauge", "Loss of the device that loses most.", func(s fleet.Snapshot) float64 { return s.WorstLoss }},
	} {
		m.family(f.name, f.kind, f.help)
		for _, o := range open {
			m.sample(f.value(o.snap), "campaign", o.snap.Campaign.String(), "name", o.name)
		}
	}
	m.family("normsend_campaign_laggards", "gauge", "Targets that are not where they should be, by cause.")
	for _, o := range open {
		for _, cause := range fleet.Causes() {
			if n := o.snap.Causes[cause]; n > 0 {
				m.sample(float64(n), "campaign", o.snap.Campaign.String(), "name", o.name, "cause", string(cause))
			}
		}
	}
	a.measureTransport(ctx, m, open)
	return nil
}

type openCampaign struct {
	name string
	snap fleet.Snapshot
}

// openCampaigns returns the campaigns that are scheduled or run, the first maxPage.
func (a *API) openCampaigns(ctx context.Context) (open []openCampaign, err error) {
	l, err := a.store.Campaigns(ctx, store.CampaignFilter{Phases: []store.CampaignPhase{store.PhaseScheduled, store.PhaseRunning, store.PhasePaused}}, store.Page{Limit: maxPage})
	if err != nil {
		return nil, err
	}
	for _, c := range l.Items {
		snap, err := a.fleet.Snapshot(ctx, c.ID)
		if err != nil {
			continue // it has just closed, or changes its leader
		}
		open = append(open, openCampaign{c.Name, snap})
	}
	return open, nil
}

// metrics writes the text format of Prometheus.
type metrics struct {
	w    *bytes.Buffer
	name string
}

func (m *metrics) family(name, kind, help string) {
	m.name = name
	fmt.Fprintf(m.w, "# HELP %s %s\n# TYPE %[1]s %[3]s\n", name, help, kind)
}

var labelEscape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// sample writes a value with labels: names and values, in turn.
func (m *metrics) sample(v float64, labels ...string) {
	m.w.WriteString(m.name)
	for i := 0; i < len(labels); i += 2 {
		sep := byte(',')
		if i == 0 {
			sep = '{'
		}
		m.w.WriteByte(sep)
		fmt.Fprintf(m.w, `%s="%s"`, labels[i], labelEscape.Replace(labels[i+1]))
	}
	if len(labels) > 0 {
		m.w.WriteByte('}')
	}
	fmt.Fprintf(m.w, " %g\n", v)
}
