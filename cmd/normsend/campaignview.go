package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/upgrade"
	"golang.org/x/term"
)

// maxDeviceLines is how many changes of single devices are told to a person.
const maxDeviceLines = 100

// A campaignView shows a campaign: as events to programs, as lines to people, and as a table if they have a terminal.
type campaignView struct {
	world    cli.World
	events   *cli.Events
	progress *cli.Progress

	campaign *upgrade.Campaign
	stop     context.CancelFunc
	drawing  sync.WaitGroup
	told     int // changes of devices; only event uses it
}

func newCampaignView(w cli.World, json bool) *campaignView {
	return &campaignView{world: w, events: cli.NewEvents(w.Stdout, json), progress: cli.NewProgress(w.Stderr), stop: func() {}}
}

// begin says what is about to run, and draws it until end.
func (v *campaignView) begin(ctx context.Context, c *upgrade.Campaign) {
	m, link := c.Manifest(), c.Link()
	if link.Interface == "" {
		link.Interface = "the default interface"
	}
	v.progress.Line("campaign %v: %s %s, %s; state in %s", c.ID(), m.Product, m.Version, cli.HumanBytes(m.Size()), c.Dir())
	v.progress.Line("sending to %v on %s, TTL %d, %s; rendezvous %s", link.Group, link.Interface, link.TTL,
		describeRate(link.AutoRate, link.Rate), c.URL())
	v.campaign = c
	ctx, v.stop = context.WithCancel(ctx)
	if v.progress.Terminal() {
		v.drawing.Go(func() { v.draw(ctx) })
	}
}

// draw shows a table of the campaign, until ctx ends.
func (v *campaignView) draw(ctx context.Context) {
	for {
		s, err := v.campaign.Status(ctx)
		if err != nil {
			return
		}
		v.progress.Table(statusLines(s, time.Now()))
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

// end ends the drawing.
func (v *campaignView) end() {
	v.stop()
	v.drawing.Wait()
	v.progress.Clear()
}

// event tells what has happened. The campaign calls it from its loop, so it must not ask the campaign anything.
func (v *campaignView) event(e upgrade.Event) {
	if v.events.On() {
		v.events.Line(e.JSON())
	}
	switch e.Kind {
	case upgrade.EventCampaign:
		v.campaignEvent(e)
	case upgrade.EventDecision:
		v.progress.Line("decision: %s", because(e.Verdict, e.Reason))
	case upgrade.EventDevice:
		v.deviceEvent(e)
	case upgrade.EventTrouble:
		v.progress.Line("%s", e.Detail)
	}
}

func (v *campaignView) campaignEvent(e upgrade.Event) {
	switch e.State {
	case upgrade.CampaignAnnounced:
		n := 0
		for _, c := range e.Counts {
			n += c
		}
		v.progress.Line("announced to %s", count(n, "device"))
	case upgrade.CampaignSending:
		what := ""
		if e.Detail != "" {
			what = ": " + e.Detail
		}
		v.progress.Line("sending %s%s", cli.HumanBytes(e.Total), what)
	case upgrade.CampaignSent:
		v.progress.Line("all is sent once, in %.1f s; what is missed is repaired", e.Seconds)
	case upgrade.CampaignAsking:
		v.ask(e)
	case upgrade.CampaignHeld:
		v.progress.Line("on hold%s: devices that have not begun to activate wait; release them with: normsend resume --state %s",
			inBrackets(e.Reason), v.campaign.Dir())
	case upgrade.CampaignResumed:
		v.progress.Line("resumed")
	case upgrade.CampaignConflict:
		v.progress.Line("WARNING: a device holds a signed %s, the opposite of what was decided here; is there another server with this key?", e.Verdict)
	}
}

// deviceEvent tells of a device: of each while they are few, then of those that give cause to look.
func (v *campaignView) deviceEvent(e upgrade.Event) {
	switch e.State {
	case commit.StateRefused, commit.StateFailed, commit.StateRolledBack, commit.StateReleased, commit.StateReady, commit.StateCommitted:
	default:
		return
	}
	if v.told++; v.told > maxDeviceLines {
		if v.told == maxDeviceLines+1 {
			v.progress.Line("changes of more devices are not shown here; see: normsend status --state %s", v.campaign.Dir())
		}
		return
	}
	detail := ""
	if e.Detail != "" {
		detail = ": " + e.Detail
	}
	v.progress.Line("%s: %s%s", e.Device, because(string(e.State), e.Reason), detail)
}

// ask asks a person for the COMMIT, here if there is a terminal.
func (v *campaignView) ask(e upgrade.Event) {
	v.progress.Line("%s ready; approve with: normsend commit --state %s", count(e.Counts[commit.StateReady], "device"), v.campaign.Dir())
	in, ok := v.world.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return
	}
	v.progress.Line("or here: type commit, or abort")
	go func() { // reads until the process ends
		for lines := bufio.NewScanner(in); lines.Scan(); {
			var err error
			switch strings.TrimSpace(lines.Text()) {
			case "commit":
				err = v.campaign.Approve(context.Background())
			case "abort":
				err = v.campaign.Abort(context.Background())
			default:
				continue
			}
			if err != nil {
				v.progress.Line("%v", err)
			}
		}
	}()
}

// result says how the campaign ended, and returns its exit status.
func (v *campaignView) result(r upgrade.Result) error {
	status := r.ExitStatus()
	switch {
	case r.Verdict == commit.Commit && len(r.Laggards) == 0:
		v.progress.Line("committed on %s", all(len(r.Devices), "device"))
	case r.Verdict == commit.Commit:
		for i, d := range r.Laggards {
			if i == maxDeviceLines {
				v.progress.Line("… and %d more; see: normsend status --state %s", len(r.Laggards)-i, v.campaign.Dir())
				break
			}
			v.progress.Line("%s: %s", d.Device, because(stateName(d.State), d.Reason))
		}
		return &cli.Exit{Status: status, Err: fmt.Errorf("committed on %d of %s, not on those above", len(r.Devices)-len(r.Laggards), count(len(r.Devices), "device"))}
	case r.Verdict == commit.Abort:
		return &cli.Exit{Status: status, Err: fmt.Errorf("aborted%s: no device activates", inBrackets(r.Reason))}
	}
	if status == cli.OK {
		return nil
	}
	return &cli.Exit{Status: status, Err: errors.New("the campaign ended undecided")}
}

// because adds a reason, if there is one.
func because(what string, r commit.Reason) string { return what + inBrackets(r) }

func inBrackets(r commit.Reason) string {
	if r == commit.ReasonNone {
		return ""
	}
	return fmt.Sprintf(" (%s)", r)
}

// stateName names the state of a device, also of one that was never heard of.
func stateName(s commit.State) string {
	if s == commit.StateNone {
		return "unknown"
	}
	return string(s)
}

// count says how many of something there are.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// all is count for all there are.
func all(n int, what string) string {
	if n == 1 {
		return "the " + what
	}
	return "all " + count(n, what)
}
