package api

import (
	"context"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/upgrade"
)

// A reading is a value with the one label it has beside those of the campaign; empty: none.
type reading struct {
	label string
	value float64
}

func only(v float64) []reading { return []reading{{"", v}} }

// transportFamilies are what is measured of the sessions of campaigns. Each has a fixed list of values of its label, so
// that there are as many series as campaigns which this server leads, times a constant.
var transportFamilies = []struct {
	name, kind, help, label string
	readings                func(upgrade.Transport) []reading
}{
	{"normsend_transport_datagrams_total", "counter", "Datagrams sent.", "", func(t upgrade.Transport) []reading { return only(float64(t.Sender.Datagrams)) }},
	{"normsend_transport_bytes_total", "counter", "Bytes sent, as UDP payload.", "", func(t upgrade.Transport) []reading { return only(float64(t.Sender.Bytes)) }},
	{"normsend_transport_segments_total", "counter", "NORM_DATA segments sent: new ones, parity that nobody asked for, repairs.", "kind", func(t upgrade.Transport) []reading {
		s := t.Sender
		return []reading{{"new", float64(s.Data)}, {"parity", float64(s.Parity)}, {"repair", float64(s.Repairs)}}
	}},
	{"normsend_transport_repair_cycles_total", "counter", "Aggregation periods that ended in repairs.", "", func(t upgrade.Transport) []reading { return only(float64(t.Sender.RepairCycles)) }},
	{"normsend_transport_nacks_total", "counter", "NACKs: all that were heard, asks ignored as they came in the hold-off, NACKs refused as beyond a node's share.", "kind", func(t upgrade.Transport) []reading {
		s := t.Sender
		return []reading{{"heard", float64(s.NacksHeard)}, {"ignored", float64(s.NacksIgnored)}, {"refused", float64(s.NacksRefused)}}
	}},
	{"normsend_transport_commands_total", "counter", "NORM_CMD messages sent.", "kind", func(t upgrade.Transport) []reading {
		s := t.Sender
		return []reading{{"flush", float64(s.Flushes)}, {"squelch", float64(s.Squelches)}, {"cc", float64(s.Probes)}}
	}},
	{"normsend_transport_dropped_total", "counter", "Datagrams heard and dropped.", "reason", func(t upgrade.Transport) []reading { return drops(t.Sender.Drops) }},
	{"normsend_transport_socket_dropped_total", "counter", "Datagrams that the socket did not deliver.", "reason", func(t upgrade.Transport) []reading {
		d := t.UDP.Dropped
		return []reading{{"destination", float64(d.Destination)}, {"source", float64(d.Source)}, {"truncated", float64(d.Truncated)}, {"overrun", float64(d.Overflow)}}
	}},
	{"normsend_transport_unsent_total", "counter", "Datagrams that the socket refused to send.", "", func(t upgrade.Transport) []reading { return only(float64(t.Unsent)) }},
	{"normsend_transport_rate_bits_per_second", "gauge", "What it sends with at most.", "", func(t upgrade.Transport) []reading { return only(t.Sender.Rate) }},
	{"normsend_transport_grtt_seconds", "gauge", "Greatest round trip time of the group.", "", func(t upgrade.Transport) []reading { return only(t.Sender.GRTT.Seconds()) }},
	{"normsend_transport_clr_rtt_seconds", "gauge", "Round trip time to the receiver that limits the rate; 0 with a fixed rate.", "", func(t upgrade.Transport) []reading { return only(t.Sender.RTT.Seconds()) }},
	{"normsend_transport_clr_loss_ratio", "gauge", "Loss that this receiver reports.", "", func(t upgrade.Transport) []reading { return only(t.Sender.Loss) }},
	{"normsend_transport_group_size", "gauge", "How many receivers the sender goes by.", "", func(t upgrade.Transport) []reading { return only(float64(t.GroupSize)) }},
}

func drops(d norm.Drops) []reading {
	return []reading{{"malformed", float64(d.Malformed)}, {"foreign", float64(d.Foreign)}, {"useless", float64(d.Useless)}, {"refused", float64(d.Refused)},
		{"unauthentic", float64(d.Unauthentic)}}
}

// measureTransport writes what the sessions of campaigns have counted that this server leads: of another server's, that
// one tells.
func (a *API) measureTransport(ctx context.Context, m *metrics, open []openCampaign) {
	read := make([]upgrade.Transport, 0, len(open))
	led := make([]openCampaign, 0, len(open))
	for _, o := range open {
		if t, err := a.fleet.Transport(ctx, o.snap.Campaign); err == nil {
			read, led = append(read, t), append(led, o)
		}
	}
	for _, f := range transportFamilies {
		m.family(f.name, f.kind, f.help)
		for i, o := range led {
			for _, r := range f.readings(read[i]) {
				labels := []string{"campaign", o.snap.Campaign.String(), "name", o.name}
				if f.label != "" {
					labels = append(labels, f.label, r.label)
				}
				m.sample(r.value, labels...)
			}
		}
	}
}
