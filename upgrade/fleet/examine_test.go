package fleet_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/internal/fleettest"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

func (r *rig) examine(s *server, o fleet.ExamineOrder) fleet.Examination {
	r.Helper()
	e, err := s.Examine(r.Context(), o, "alice")
	if err != nil {
		r.Fatal(err)
	}
	return e
}

// sites returns what the sites have found, by name.
func (r *rig) sites(s *server) map[string]fleet.SiteDiagnosis {
	r.Helper()
	l, err := s.Diagnoses(r.Context(), store.Page{})
	if err != nil {
		r.Fatal(err)
	}
	by := map[string]fleet.SiteDiagnosis{}
	for _, v := range l.Items {
		by[v.Site] = v
	}
	return by
}

// Some devices of each site examine their network, whichever server they wait at, and those come first that wait. A campaign
// finds them as ready for it as ever.
func TestExamination(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		one := r.serve("one")
		defer one.stop()
		two := r.serve("two")
		defer two.stop()
		r.upload(one)
		fleettest.Enrol(t, r.store, "berlin", "phone-00", "phone-01", "phone-02", "phone-03") // the last one is off
		fleettest.Enrol(t, r.store, "rome", "phone-10")
		var agents []*agent
		for i, name := range []string{"phone-00", "phone-01", "phone-02", "phone-10"} {
			agents = append(agents, r.agent(name, func(cfg *upgrade.AgentConfig) {
				cfg.Transport = at([]*server{one, two}[i/3])
				if name == "phone-10" {
					cfg.Examine = fleettest.Deaf
				}
			}))
		}
		r.until(time.Minute, "all wait", func() bool {
			return one.Online("phone-00") && one.Online("phone-01") && one.Online("phone-02") && two.Online("phone-10")
		})
		e := r.examine(one, fleet.ExamineOrder{})
		if len(e.Devices) != 3 || slices.Contains(e.Devices, "phone-03") || !slices.Contains(e.Devices, "phone-10") {
			t.Errorf("asked %v: want two of berlin that wait, and the one of rome", e.Devices)
		}
		if e.Group != fleettest.Groups[0] || time.Until(e.Until) < 6*time.Second {
			t.Errorf("examination %+v", e)
		}
		if _, err := one.Examine(t.Context(), fleet.ExamineOrder{}, "bob"); !errors.Is(err, store.ErrState) {
			t.Errorf("another one at the same time: %v", err)
		}
		if v := r.sites(one)["berlin"]; v.Asked != 2 || v.Waiting != 2 {
			t.Errorf("when they were asked: %+v", v)
		}
		r.until(time.Minute, "all have answered", func() bool { return r.sites(two)["berlin"].OK == 2 && r.sites(two)["rome"].Wrong == 1 })
		rome := r.sites(one)["rome"]
		if want := (fleet.Trouble{store.Finding{Check: "reception", Verdict: store.VerdictFault, Remedy: "route the group to this site"}, 1, "phone-10"}); len(rome.Trouble) != 1 || rome.Trouble[0] != want {
			t.Errorf("rome: %+v", rome)
		}
		if d, err := r.store.Diagnosis(t.Context(), "phone-10"); err != nil || d.Waits() || len(d.Findings) != 3 || d.Worst.Seen != "nothing comes by the group" {
			t.Errorf("%+v, %v", d, err)
		}
		for i, asked := range []string{"phone-00", "phone-01", "phone-02", "phone-10"} {
			if did := agents[i].did(upgrade.EventExamined); did != slices.Contains(e.Devices, asked) || agents[i].did(upgrade.EventRefused) {
				t.Errorf("%s: examined %v", asked, did)
			}
		}
		c := r.create(one, "spring", func(set *store.CampaignSettings) { set.Policy.Waves[0].Quorum = 50 })
		r.start(one, c)
		r.until(time.Minute, "the campaign is announced, although the examination is not over", func() bool { return agents[0].did(upgrade.EventAnnounced) })
		if _, err := one.Examine(t.Context(), fleet.ExamineOrder{Devices: []string{"phone-00"}}, "bob"); !errors.Is(err, fleet.ErrOpen) {
			t.Errorf("of a device that a campaign runs for: %v", err)
		}
		r.until(10*time.Minute, "COMMITTED", func() bool { return r.phase(c.ID) == store.PhaseClosed })
	})
}

// An announcement ends an examination that a device has not begun, and is not hidden by one.
func TestExaminationGivesWay(t *testing.T) {
	virtualOn(t, fleettest.SQLite, func(t *testing.T, r *rig) {
		s := r.serve("one")
		defer s.stop()
		r.upload(s)
		all := names(20)
		r.enrol(all...)
		a := r.agent(all[0], nil)
		r.until(time.Minute, "it waits", func() bool { return s.Online(all[0]) })
		r.examine(s, fleet.ExamineOrder{PerSite: 20}) // a minute
		c := r.create(s, "spring", func(set *store.CampaignSettings) { set.Targets.Devices = all[:1] })
		r.start(s, c)
		r.until(20*time.Minute, "it is over", func() bool { return r.phase(c.ID) == store.PhaseClosed })
		if !a.did(upgrade.EventActivated) {
			t.Error("the device has not followed the campaign")
		}
		if v := r.sites(s)["berlin"]; v.Waiting != 20 {
			t.Errorf("%+v: the examination went on beside the campaign", v)
		}
	})
}

// What a device reports counts only if it was asked, and its approved key has signed it; and whatever it says is bounded.
func TestAttackDiagnosis(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		s := r.serve("one")
		defer s.stop()
		r.enrol("phone-00", "phone-01")
		if err := r.store.SeeDevices(t.Context(), fleettest.Sighting("phone-02")); err != nil {
			t.Fatal(err)
		}
		e := r.examine(s, fleet.ExamineOrder{Devices: []string{"phone-00"}})
		open, err := r.store.OpenExaminations(t.Context(), time.Now())
		if err != nil || len(open) != 1 || open[0].ID != e.ID {
			t.Fatal(open, err)
		}
		asked, err := discovery.OpenExamination(open[0].Signed, fleettest.ServerKey.Public())
		if err != nil {
			t.Fatal(err)
		}
		report := func(device, signer string, change func(*discovery.Diagnosis)) error {
			d := discovery.Diagnosis{Device: device, Examination: asked.ID, Findings: []discovery.Finding{{Check: "ttl", Verdict: "fault", Seen: "TTL is 1", Remedy: "send with --ttl 4"}}}
			if change != nil {
				change(&d)
			}
			if err := d.Sign(fleettest.Key(manifest.RoleDevice, signer)); err != nil {
				t.Fatal(err)
			}
			return r.client().Diagnosis(t.Context(), d)
		}
		many := func(n int) func(*discovery.Diagnosis) {
			return func(d *discovery.Diagnosis) {
				d.Findings = slices.Repeat(d.Findings, n)
			}
		}
		text := func(s string) func(*discovery.Diagnosis) {
			return func(d *discovery.Diagnosis) { d.Findings[0].Seen = s }
		}
		wantRefused(t, "another's key", report("phone-00", "phone-01", nil), commit.ReasonSignature)
		wantRefused(t, "not asked", report("phone-01", "phone-01", nil), commit.ReasonNotTarget)
		wantRefused(t, "no approved key", report("phone-02", "phone-02", nil), commit.ReasonNotTarget)
		wantRefused(t, "never seen", report("nobody", "nobody", nil), commit.ReasonNotTarget)
		wantRefused(t, "another examination", report("phone-00", "phone-00", func(d *discovery.Diagnosis) { d.Examination[0]++ }), commit.ReasonNotTarget)
		wantRefused(t, "no findings", report("phone-00", "phone-00", many(0)), commit.ReasonFormat)
		wantRefused(t, "too many findings", report("phone-00", "phone-00", many(store.MaxFindings+1)), commit.ReasonFormat)
		wantRefused(t, "far too many findings", report("phone-00", "phone-00", many(1025)), commit.ReasonFormat)
		wantRefused(t, "a long text", report("phone-00", "phone-00", text(strings.Repeat("x", 513))), commit.ReasonFormat)
		wantRefused(t, "NUL", report("phone-00", "phone-00", text("a\x00b")), commit.ReasonFormat)
		wantRefused(t, "a verdict of its own", report("phone-00", "phone-00", func(d *discovery.Diagnosis) { d.Findings[0].Verdict = "fine" }), commit.ReasonFormat)
		wantRefused(t, "no check", report("phone-00", "phone-00", func(d *discovery.Diagnosis) { d.Findings[0].Check = "" }), commit.ReasonFormat)
		if v := r.sites(s)["berlin"]; v.Asked != 1 || v.Waiting != 1 {
			t.Errorf("after all that: %+v", v)
		}
		for range 2 { // it may be told again, when the answer was lost
			if err := report("phone-00", "phone-00", many(store.MaxFindings)); err != nil {
				t.Error(err)
			}
		}
		if v := r.sites(s)["berlin"]; v.Waiting != 0 || v.Wrong != 1 {
			t.Errorf("after its own: %+v", v)
		}
	})
}
