package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A campaignsPage is what campaigns.html shows.
type campaignsPage struct {
	List  []entry
	Phase string
	Sort  sorting
	Pages pager
}

func (s *Site) campaigns(v *visit) error {
	p := campaignsPage{Phase: v.r.FormValue("phase"), Sort: v.sorting("-created")}
	var f store.CampaignFilter
	if p.Phase != "" {
		f.Phases = []store.CampaignPhase{store.CampaignPhase(p.Phase)}
	}
	l, err := s.store.Campaigns(v.r.Context(), f, p.Sort.page(v, 50))
	if err != nil {
		return err
	}
	if p.List, err = s.entries(v.r.Context(), l.Items); err != nil {
		return err
	}
	p.Pages = v.pager(l.Next)
	v.show(http.StatusOK, "campaigns.html", "Campaigns", p)
	return nil
}

// A campaignPage is what campaign.html shows.
type campaignPage struct {
	store.Campaign
	Release  store.Release
	Snap     fleet.Snapshot
	Trouble  string // why there is no snapshot
	Steps    []step
	Status   string // in a sentence
	Verbs    []string
	Causes   []causeCount
	Events   []store.Event
	Laggards []fleet.View     // the first
	Sites    []fleet.SiteView // the first of those with most laggards; none if there is only one
	AllSites bool             // those are all

	Approvers []fleet.Approvers // who has to sign before a COMMIT of the release
}

// A step is one of the way of a campaign, and how many targets have made it.
type step struct {
	Name  string
	Count int
	Of    int
	Bad   bool
}

type causeCount struct {
	Cause fleet.Cause
	Count int
}

const (
	shownLaggards = 20
	shownSites    = 10
	shownEvents   = 20
)

func (s *Site) lookAt(ctx context.Context, who store.Token, c store.Campaign) (p campaignPage, err error) {
	p.Campaign = c
	if p.Release, err = s.store.Release(ctx, p.Campaign.Release); err != nil {
		return p, err
	}
	p.Approvers = s.fleet.Approvers(p.Release.Manifest)
	if p.Snap, err = s.fleet.Snapshot(ctx, c.ID); err != nil {
		_, p.Trouble = explain(err)
	}
	p.Steps, p.Status = steps(p.Snap), status(p)
	for _, cause := range fleet.Causes() {
		if n := p.Snap.Causes[cause]; n > 0 {
			p.Causes = append(p.Causes, causeCount{cause, n})
		}
	}
	p.Laggards = p.Snap.Laggards[:min(len(p.Snap.Laggards), shownLaggards)]
	if p.Snap.Targets > 0 && p.Trouble == "" {
		sites, err := s.fleet.CampaignSites(ctx, c.ID, store.Page{Limit: shownSites, Order: "-lagging"})
		if err != nil {
			return p, err
		}
		if len(sites.Items) > 1 {
			p.Sites, p.AllSites = sites.Items, sites.Next == ""
		}
	}
	for _, verb := range campaignVerbs {
		deed := campaignDeeds[verb]
		if role, ok := roleFor(deed.operation); ok && who.Role.Covers(role) && deed.possible(p, who.Name) {
			p.Verbs = append(p.Verbs, verb)
		}
	}
	p.Events, err = s.newest(ctx, store.EventFilter{Campaign: c.ID.String()}, shownEvents)
	return p, err
}

// Decided reports whether there is a decision.
func (p campaignPage) Decided() bool { return decided(p) }

// Can reports whether a verb is among those that the person may do now.
func (p campaignPage) Can(verb string) bool { return slices.Contains(p.Verbs, verb) }

// FitsForm reports whether the form of drafts can show the waves.
func (p campaignPage) FitsForm() bool { return uniform(p.Settings.Policy.Waves) }

// steps returns how many targets have come how far. Each step counts those that are past it too.
func steps(snap fleet.Snapshot) []step {
	n := snap.Counts
	failed := n[commit.StateRefused] + n[commit.StateFailed] + n[commit.StateRolledBack] + n[commit.StateReleased] + n[commit.StateAborted]
	committed := n[commit.StateCommitted]
	ready := n[commit.StateReady] + committed + n[commit.StateRolledBack]
	staged := n[commit.StateStaged] + ready
	receiving := n[commit.StateReceiving] + staged
	return []step{{"joined", snap.Joined, snap.Targets, false}, {"receiving", receiving, snap.Targets, false}, {"staged", staged, snap.Targets, false},
		{"ready", ready, snap.Targets, false}, {"committed", committed, snap.Targets, false}, {"failed", failed, snap.Targets, failed > 0}}
}

// status says where a campaign is, in a sentence that changes seldom enough to be read aloud.
func status(p campaignPage) string {
	c, snap := p.Campaign, p.Snap
	switch {
	case snap.Restored:
		return "The database was restored from a backup, and may not know what was decided since. Nothing happens before somebody says how this campaign goes on."
	case c.Phase == store.PhaseDraft && c.Settings.Policy.TwoPeople && c.Approved.Actor == "":
		return "A draft. A second person has to approve it."
	case c.Phase == store.PhaseDraft:
		return "A draft. It can be started."
	case c.Phase == store.PhaseScheduled:
		return fmt.Sprintf("Scheduled: it starts %s. %d of %s wait.", saySchedule(c.Settings.Schedule), snap.Joined, count(snap.Targets, "target", "targets"))
	case c.Phase == store.PhaseClosed && snap.Verdict != commit.Commit.String() && snap.Verdict != commit.Abort.String():
		return "Closed before anybody was told of it."
	case c.Phase == store.PhaseClosed:
		return fmt.Sprintf("Over: %s. %d of %s run the new release.", snap.Verdict, snap.Committed, count(snap.Targets, "device", "devices"))
	case snap.Paused:
		return "Paused. " + stopped(snap)
	case snap.Held:
		return "On hold: devices that have not begun to activate wait."
	case snap.Verdict == commit.Commit.String():
		return "The decision is COMMIT. Devices activate."
	case snap.Verdict == commit.Abort.String():
		return "The decision is ABORT. Devices keep what they run."
	case snap.Asking && p.unsigned() > 0:
		return "The policy is met. " + count(p.unsigned(), "approver has", "approvers have") + " to sign before COMMIT."
	case snap.Asking:
		return "The policy is met. Somebody has to agree to COMMIT."
	case snap.Sending.Once:
		return "Everything was sent once. Devices ask for what they lack."
	case snap.Sending.Begun:
		return "Sending."
	}
	return "Announced. Devices are told, and sending begins."
}

func (s *Site) campaign(v *visit, c store.Campaign) error {
	p, err := s.lookAt(v.r.Context(), v.token, c)
	if err != nil {
		return err
	}
	v.show(http.StatusOK, "campaign.html", p.Name, p)
	return nil
}

func (s *Site) campaignLive(v *visit, c store.Campaign) error {
	return s.stream(v, time.Second, func(ch fleet.Changes) bool { return slices.Contains(ch.Campaigns, c.ID) },
		func(ctx context.Context) (string, any, bool, error) {
			now, err := s.store.Campaign(ctx, c.ID)
			if err != nil {
				return "", nil, false, err
			}
			p, err := s.lookAt(ctx, v.token, now)
			return "part-progress", v.frame(p.Name, p), p.Phase == store.PhaseClosed, err
		})
}

// A campaignDevicesPage is what campaign-devices.html shows.
type campaignDevicesPage struct {
	store.Campaign
	Filter  fleet.TargetFilter
	Causes  []fleet.Cause
	States  []commit.State
	Devices []fleet.View
	Sort    sorting
	Pages   pager
}

func (s *Site) campaignDevices(v *visit, c store.Campaign) error {
	q := v.r.URL.Query()
	p := campaignDevicesPage{Campaign: c, Causes: fleet.Causes(), States: targetStates, Sort: v.sorting("id"),
		Filter: fleet.TargetFilter{Cause: fleet.Cause(q.Get("cause")), Site: strings.TrimSpace(q.Get("site")), State: commit.State(q.Get("state"))}}
	l, err := s.fleet.CampaignDevices(v.r.Context(), c.ID, p.Filter, p.Sort.page(v, 100))
	if err != nil {
		return err
	}
	p.Devices, p.Pages = l.Items, v.pager(l.Next)
	v.show(http.StatusOK, "campaign-devices.html", "Devices of "+p.Name, p)
	return nil
}

// targetStates are those that can be asked for, in the order of an upgrade; who was not heard has a cause.
var targetStates = []commit.State{commit.StateAnnounced, commit.StateReceiving, commit.StateStaged, commit.StateReady, commit.StateCommitted,
	commit.StateRefused, commit.StateAborted, commit.StateReleased, commit.StateRolledBack, commit.StateFailed}

// A campaignSitesPage is what campaign-sites.html shows.
type campaignSitesPage struct {
	store.Campaign
	Sites []fleet.SiteView
	Sort  sorting
	Pages pager
}

func (s *Site) campaignSites(v *visit, c store.Campaign) error {
	p := campaignSitesPage{Campaign: c, Sort: v.sorting("-lagging")}
	l, err := s.fleet.CampaignSites(v.r.Context(), c.ID, p.Sort.page(v, 100))
	if err != nil {
		return err
	}
	p.Sites, p.Pages = l.Items, v.pager(l.Next)
	v.show(http.StatusOK, "campaign-sites.html", "Sites of "+p.Name, p)
	return nil
}

// A campaignDeed is something that is done with a campaign, after a question.
type campaignDeed struct {
	operation string
	title     string // with the name of the campaign
	button    string
	danger    bool
	done      string
	lines     func(p campaignPage, preview fleet.Preview) []string
	possible  func(p campaignPage, name string) bool
	doWave    func(s *Site, ctx context.Context, id commit.CampaignID, wave uint32, actor string) error // in place of do, where the form says which wave was asked about
	do        func(s *Site, ctx context.Context, id commit.CampaignID, revision int64, actor string) error
}

// campaignVerbs are in the order in which they are shown.
var campaignVerbs = []string{"approve", "start", "adopt", "vouch", "commit", "pause", "hold", "resume", "abort", "discard"}

func runs(p campaignPage) bool {
	return (p.Phase == store.PhaseRunning || p.Phase == store.PhasePaused) && p.Trouble == "" && p.Restored != store.Unresolved
}
func waitsRestored(p campaignPage, _ string) bool {
	return p.Restored == store.Unresolved && p.Phase != store.PhaseClosed
}
func decided(p campaignPage) bool {
	return p.Snap.Verdict == commit.Commit.String() || p.Snap.Verdict == commit.Abort.String()
}

var campaignDeeds = map[string]campaignDeed{
	"approve": {
		operation: "POST /campaigns/{campaign}/approve", title: "Approve %s", button: "Approve", done: "The campaign is approved. An operator can start it.",
		lines: func(p campaignPage, preview fleet.Preview) []string {
			return []string{fmt.Sprintf("You agree with the campaign as %s wrote it: %s %s for %s.", p.Changed, p.Release.Manifest.Product, p.Release.Manifest.Version,
				count(preview.Targets, "device", "devices")), "If somebody changes it, it has to be approved anew."}
		},
		possible: func(p campaignPage, name string) bool {
			return p.Phase == store.PhaseDraft && p.Settings.Policy.TwoPeople && p.Approved.Actor == "" && name != p.Created.Actor && name != p.Changed
		},
		do: func(s *Site, ctx context.Context, id commit.CampaignID, revision int64, actor string) error {
			_, err := s.fleet.Approve(ctx, id, revision, actor)
			return err
		},
	},
	"start": {
		operation: "POST /campaigns/{campaign}/start", title: "Start %s", button: "Start", done: "The campaign is started.",
		lines: func(p campaignPage, preview fleet.Preview) []string {
			lines := []string{fmt.Sprintf("%s %s goes to %s, %s.", p.Release.Manifest.Product, p.Release.Manifest.Version, count(preview.Targets, "device", "devices"), saySchedule(p.Settings.Schedule)),
				"Its devices are chosen now and do not change any more. They activate " + sayPolicy(p.Settings.Policy) + "."}
			if order := sayWaves(p.Settings.Policy); order != "" {
				lines = append(lines, "They go one after the other: "+order+".")
			}
			if preview.Problem != "" {
				lines = append(lines, "It cannot start as it is: "+preview.Problem)
			}
			if n := len(preview.Overlap); n > 0 {
				lines = append(lines, count(n, "of them is", "of them are")+" in another campaign: it cannot start before that one is over.")
			}
			return lines
		},
		possible: func(p campaignPage, _ string) bool {
			return p.Phase == store.PhaseDraft && (!p.Settings.Policy.TwoPeople || p.Approved.Actor != "")
		},
		do: func(s *Site, ctx context.Context, id commit.CampaignID, revision int64, actor string) error {
			_, err := s.fleet.Start(ctx, id, revision, actor)
			return err
		},
	},
	"adopt": {
		operation: "POST /campaigns/{campaign}/resolve", title: "Go on with %s as devices say", button: "Take their decision", done: "The campaign goes on. It takes the decision that a device shows.",
		lines: func(campaignPage, fleet.Preview) []string {
			return []string{"The database is older than what this server may have signed since. The campaign is led again, decides nothing by itself, and takes any signed decision that a device shows.",
				"If no device shows one before its votes end, nothing is decided: devices keep what they have received for as long as they were told to, and then give it up."}
		},
		possible: waitsRestored,
		do: func(s *Site, ctx context.Context, id commit.CampaignID, revision int64, actor string) error {
			_, err := s.fleet.Resolve(ctx, id, revision, store.Adopting, actor)
			return err
		},
	},
	"vouch": {
		operation: "POST /campaigns/{campaign}/resolve", title: "Go on with %s as if nothing was lost", button: "Nothing was signed", danger: true, done: "The campaign goes on as the database has it.",
		lines: func(campaignPage, fleet.Preview) []string {
			return []string{"You vouch that no server has signed anything for this campaign since the backup was made: no COMMIT, no ABORT, no hold.",
				"If one has, the campaign can decide the opposite, and devices that heard the first decision follow that. If you are not sure, let it take the decision of devices instead."}
		},
		possible: waitsRestored,
		do: func(s *Site, ctx context.Context, id commit.CampaignID, revision int64, actor string) error {
			_, err := s.fleet.Resolve(ctx, id, revision, store.NotRestored, actor)
			return err
		},
	},
	"commit": {
		operation: "POST /campaigns/{campaign}/commit", title: "Commit %s", button: "Commit", done: "You committed. Devices activate.",
		lines: func(p campaignPage, _ fleet.Preview) []string {
			w, name := p.open()
			lines := []string{fmt.Sprintf("%s%d of %s are ready. They activate %s %s, and cannot be called back, only held.", name, w.Ready, count(w.Targets, "device", "devices"),
				p.Release.Manifest.Product, p.Release.Manifest.Version)}
			if late := w.Targets - w.Ready; late > 0 {
				lines = append(lines, fmt.Sprintf("Not ready: %s, to activate as soon as ready.", count(late, "device", "devices")))
			}
			if a := p.Settings.Activation; !a.NotBefore.IsZero() {
				lines = append(lines, "No device activates before "+sayMoment(a.NotBefore)+" UTC.")
			}
			return lines
		},
		possible: func(p campaignPage, _ string) bool {
			return runs(p) && p.Snap.Asking && !decided(p) && !p.Snap.Paused && p.unsigned() == 0
		},
		doWave: func(s *Site, ctx context.Context, id commit.CampaignID, wave uint32, actor string) error {
			return s.fleet.CommitWave(ctx, id, wave, actor)
		},
		do: func(s *Site, ctx context.Context, id commit.CampaignID, _ int64, actor string) error {
			return s.fleet.Commit(ctx, id, actor)
		},
	},
	"pause": pauseDeed,
	"hold": {
		operation: "POST /campaigns/{campaign}/hold", title: "Hold %s", button: "Hold", danger: true, done: "The campaign is on hold.",
		lines: func(p campaignPage, _ fleet.Preview) []string {
			return []string{fmt.Sprintf("Devices that have not begun to activate wait until somebody resumes: up to %d of %d. Those that have begun go on.", p.Snap.Targets-p.Snap.Committed, p.Snap.Targets)}
		},
		possible: func(p campaignPage, _ string) bool {
			return runs(p) && committed(p) && !p.Snap.Held
		},
		do: func(s *Site, ctx context.Context, id commit.CampaignID, _ int64, actor string) error {
			return s.fleet.Hold(ctx, id, actor)
		},
	},
	"resume": {
		operation: "POST /campaigns/{campaign}/resume", title: "Resume %s", button: "Resume", done: "The campaign goes on.",
		lines:    resumeLines,
		possible: func(p campaignPage, _ string) bool { return runs(p) && p.Snap.Held },
		do: func(s *Site, ctx context.Context, id commit.CampaignID, _ int64, actor string) error {
			return s.fleet.Resume(ctx, id, actor)
		},
	},
	"abort": {
		operation: "POST /campaigns/{campaign}/abort", title: "Abort %s", button: "Abort", danger: true, done: "You aborted. Devices keep what they run.",
		lines:    abortLines,
		possible: func(p campaignPage, _ string) bool { return runs(p) && !decided(p) },
		do: func(s *Site, ctx context.Context, id commit.CampaignID, _ int64, actor string) error {
			return s.fleet.Abort(ctx, id, actor)
		},
	},
	"discard": {
		operation: "DELETE /campaigns/{campaign}", title: "Discard %s", button: "Discard", danger: true, done: "The campaign is closed. Nobody was told of it.",
		lines: func(campaignPage, fleet.Preview) []string {
			return []string{"The campaign is closed for good. No device was told of it."}
		},
		possible: func(p campaignPage, _ string) bool {
			return p.Phase == store.PhaseDraft || p.Phase == store.PhaseScheduled && p.Restored != store.Unresolved
		},
		do: func(s *Site, ctx context.Context, id commit.CampaignID, _ int64, actor string) error {
			return s.fleet.Discard(ctx, id, actor)
		},
	},
}

func (s *Site) askCampaign(v *visit, c store.Campaign, verb string, deed campaignDeed) error {
	ctx := v.r.Context()
	p, err := s.lookAt(ctx, v.token, c)
	if err != nil {
		return err
	}
	page := "/campaigns/" + c.ID.String()
	if !p.Can(verb) {
		return s.tooLate(ctx, p, verb)
	}
	var preview fleet.Preview
	if p.Phase == store.PhaseDraft {
		if preview, err = s.fleet.Preview(ctx, p.Settings); err != nil {
			return err
		}
	}
	return v.ask(question{Title: fmt.Sprintf(deed.title, p.Name), Lines: deed.lines(p, preview), Button: deed.button, Danger: deed.danger,
		Action: page + "/" + verb, Back: page, Hidden: map[string]string{"revision": strconv.FormatInt(p.Revision, 10), "wave": strconv.Itoa(p.OpenWave())}})
}

func (s *Site) doCampaign(v *visit, c store.Campaign, verb string, deed campaignDeed) error {
	revision, err := v.revision()
	if err != nil {
		return err
	}
	ctx := v.r.Context()
	if wave, parseErr := strconv.ParseUint(v.r.PostFormValue("wave"), 10, 32); deed.doWave != nil && parseErr == nil {
		err = deed.doWave(s, ctx, c.ID, uint32(wave), v.token.Name)
	} else {
		err = deed.do(s, ctx, c.ID, revision, v.token.Name)
	}
	if errors.Is(err, commit.ErrDecided) || errors.Is(err, commit.ErrClosed) || errors.Is(err, store.ErrState) {
		now, lookErr := s.store.Campaign(ctx, c.ID)
		if lookErr != nil {
			return errors.Join(err, lookErr)
		}
		p, lookErr := s.lookAt(ctx, v.token, now)
		if lookErr != nil {
			return errors.Join(err, lookErr)
		}
		return s.tooLate(ctx, p, verb)
	}
	if err != nil {
		return err
	}
	return v.done("/campaigns/"+c.ID.String(), deed.done)
}

// tooLate says why something cannot be done with a campaign any more, or not yet: most of all, who was quicker.
func (s *Site) tooLate(ctx context.Context, p campaignPage, verb string) error {
	text := ""
	if decided(p) && (verb == "commit" || verb == "abort") {
		text = "The decision was made before, by the policy: " + p.Snap.Verdict + "."
		for _, deed := range []struct{ action, did string }{{"campaign.commit", "committed"}, {"campaign.abort", "aborted"}} {
			e, err := s.store.NewestEvent(ctx, store.EventFilter{Campaign: p.ID.String(), Action: deed.action})
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			text = fmt.Sprintf("%s %s at %s UTC. There is one decision, and it stands.", e.Actor, deed.did, e.At.UTC().Format("15:04"))
		}
		if verb == "abort" && p.Snap.Verdict == commit.Commit.String() {
			text += " You can hold the campaign: devices that have not begun to activate wait."
		}
	}
	if text == "" {
		text = "That is not possible now. " + p.Status
	}
	return &refusal{http.StatusConflict, text}
}
