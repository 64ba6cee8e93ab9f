package upgrade

import (
	"cmp"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
)

// The picture is what people are shown of how far devices are. Nothing is decided by it, so it is not in the log; a process
// that continues a campaign has it from who ran the campaign before ([CampaignConfig.Reports]).

// picture puts what devices have told an earlier process in its place.
func (c *Campaign) picture(reports []discovery.Status) {
	for _, s := range reports {
		if _, ok := c.coordinator.Device(s.Device); !ok {
			continue
		}
		p := progressOf(s)
		c.progress[s.Device] = p
		c.coordinator.Note(s.Device, commit.State(s.State), knownReason(s))
	}
	for range c.coordinator.Events() {
		// They are no news.
	}
}

// progressOf returns what a report says.
func progressOf(s discovery.Status) progress {
	p := progress{Bytes: s.Bytes, Total: s.Total, traffic: traffic{received: s.Received, lost: s.Lost, overruns: s.Overruns, byHTTP: s.ByHTTP}}
	if commit.State(s.State) == commit.StateRefused {
		p.refused = knownReason(s)
	}
	return p
}

// knownReason returns the reason of a report if it is one that there is.
func knownReason(s discovery.Status) commit.Reason {
	if r := commit.Reason(s.Reason); r.Known() {
		return r
	}
	return commit.ReasonNone
}

// reported tells what is now known of a device, in words that there are.
func (c *Campaign) reported(device string) {
	if c.cfg.Reported == nil {
		return
	}
	d, _ := c.coordinator.Device(device)
	p := c.progress[device]
	d = p.explain(d)
	c.cfg.Reported(discovery.Status{Device: device, Campaign: c.frozen.Campaign.String(), State: string(cmp.Or(d.State, commit.StateAnnounced)), Reason: string(d.Reason),
		Bytes: p.Bytes, Total: p.Total, Received: p.received, Lost: p.lost, Overruns: p.overruns, ByHTTP: p.byHTTP})
}

// StateOf returns what the log has of a device.
func StateOf(d commit.DeviceStatus) DeviceState {
	return DeviceState{Device: d.Device, Site: d.Site, Wave: d.Wave, State: d.State, Reason: d.Reason, Unsigned: d.Unsigned, Duplicate: d.Duplicate}
}

// Report fills in what the device has said of how far it is.
func (d *DeviceState) Report(s discovery.Status) {
	d.take(progressOf(s))
}

// take fills in what is known of that.
func (d *DeviceState) take(p progress) {
	of := p.explain(commit.DeviceStatus{State: d.State, Reason: d.Reason})
	d.State, d.Reason = of.State, of.Reason
	d.Bytes, d.Total = p.Bytes, p.Total
	d.Heard, d.Loss, d.Overruns, d.ByHTTP = p.received, p.loss(), p.overruns, p.byHTTP
}
