package store_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/upgrade/store"
)

// What devices have found is counted by site; what one was asked for anew waits, and what it found before is still shown.
func TestDiagnoses(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		see(t, s, "a", "b", "c", "d")
		for _, id := range []string{"a", "b", "c"} {
			wantNil(t, s.PlaceDevice(ctx, id, device(t, s, id).Revision, "berlin", nil, alice))
		}
		at := func(d time.Duration) time.Time { return start.Add(d) }
		wantNil(t, s.AddExamination(ctx, store.Examination{"e-1", []byte("signed"), at(time.Minute)}, []string{"c", "a", "b", "d"}, alice))
		wantErr(t, s.AddExamination(ctx, store.Examination{"e-2", []byte("signed"), at(time.Hour)}, []string{"a"}, store.By{Actor: "bob", At: at(59 * time.Second)}), store.ErrState)
		if open := must(s.OpenExaminations(ctx, at(59*time.Second)))(t); len(open) != 1 || string(open[0].Signed) != "signed" || !open[0].Until.Equal(at(time.Minute)) {
			t.Errorf("open: %+v", open)
		}
		if asked := must(s.ExaminationDevices(ctx, "e-1"))(t); !slices.Equal(asked, []string{"a", "b", "c", "d"}) {
			t.Errorf("asked: %v", asked)
		}
		well := []store.Finding{{Check: "group", Verdict: store.VerdictOK, Seen: "239.1.2.3"}, {Check: "ttl", Verdict: store.VerdictOK}}
		ill := []store.Finding{{Check: "group", Verdict: store.VerdictOK}, {Check: "querier", Verdict: store.VerdictWarning}, {"ttl", store.VerdictFault, "TTL is 1", "send with --ttl 4"}, {"mtu", store.VerdictFault, "", "smaller"}}
		wantNil(t, s.Diagnose(ctx, "a", "e-1", well, at(time.Second)))
		wantNil(t, s.Diagnose(ctx, "b", "e-1", ill, at(2*time.Second)))
		wantNil(t, s.Diagnose(ctx, "c", "e-1", ill, at(3*time.Second)))
		wantErr(t, s.Diagnose(ctx, "a", "e-2", well, at(time.Second)), store.ErrNotFound)
		wantErr(t, s.Diagnose(ctx, "nobody", "e-1", well, at(time.Second)), store.ErrNotFound)
		for what, bad := range map[string][]store.Finding{
			"none": nil, "many": slices.Repeat(well, store.MaxFindings), "no name": {{Verdict: store.VerdictOK}}, "no verdict": {{Check: "ttl"}},
			"a long name": {{Check: strings.Repeat("x", 65), Verdict: store.VerdictOK}}, "a long text": {{"ttl", store.VerdictOK, strings.Repeat("x", 513), ""}},
			"a long remedy": {{"ttl", store.VerdictOK, "", strings.Repeat("x", 513)}}, "NUL": {{"t\x00l", store.VerdictOK, "", ""}}, "no UTF-8": {{"ttl", store.VerdictOK, "\xff", ""}},
		} {
			if err := s.Diagnose(ctx, "a", "e-1", bad, at(time.Second)); err == nil {
				t.Errorf("%s: taken", what)
			} else {
				wantErr(t, err, store.ErrInvalid)
			}
		}
		want := []store.DiagnosisTally{
			{Waiting: true, Devices: 1, Example: "d"},
			{Site: "berlin", Verdict: store.VerdictFault, Check: "ttl", Remedy: "send with --ttl 4", Devices: 2, Example: "b", At: at(3 * time.Second)},
			{Site: "berlin", Verdict: store.VerdictOK, Devices: 1, Example: "a", At: at(time.Second)},
		}
		got := must(s.DiagnosisTallies(ctx))(t)
		slices.SortFunc(got, func(a, b store.DiagnosisTally) int { return strings.Compare(a.Site+a.Check, b.Site+b.Check) })
		slices.SortFunc(want, func(a, b store.DiagnosisTally) int { return strings.Compare(a.Site+a.Check, b.Site+b.Check) })
		if !reflect.DeepEqual(got, want) {
			t.Errorf("tallies\n%+v, want\n%+v", got, want)
		}

		later := store.By{Actor: "bob", At: at(2 * time.Minute)}
		wantNil(t, s.AddExamination(ctx, store.Examination{"e-2", []byte("signed"), at(3 * time.Minute)}, []string{"b"}, later))
		d := must(s.Diagnosis(ctx, "b"))(t)
		if !d.Waits() || !reflect.DeepEqual(d.Findings, ill) || d.Worst != ill[2] || !d.At.Equal(at(2*time.Second)) {
			t.Errorf("asked anew: %+v", d)
		}
		wantErr(t, s.Diagnose(ctx, "b", "e-1", well, at(2*time.Minute)), store.ErrNotFound) // too late
		_, err := s.Diagnosis(ctx, "nobody")
		wantErr(t, err, store.ErrNotFound)
		wantNil(t, s.RemoveDevice(ctx, "d", device(t, s, "d").Revision, alice))
		_, err = s.Diagnosis(ctx, "d")
		wantErr(t, err, store.ErrNotFound)

		wantNil(t, s.Prune(ctx, at(4*time.Minute), store.Retention{Reports: 3 * time.Minute}))
		for id, kept := range map[string]bool{"a": false, "b": true, "c": false} {
			if _, err := s.Diagnosis(ctx, id); (err == nil) != kept {
				t.Errorf("%s after pruning: %v", id, err)
			}
		}
		if open := must(s.OpenExaminations(ctx, start))(t); len(open) != 0 {
			t.Errorf("after pruning: %+v", open)
		}
	})
}
