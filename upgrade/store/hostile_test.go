package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// hostile is text that means something to SQL, a page, a file system, a format string or a terminal.
var hostile = []string{
	`'; DROP TABLE devices; --`, `" OR 1=1 --`, `\'; DELETE FROM events; --`, `$1`, `?`, `%s%n`, `a%`, `_`, `:name`, `@p`, `E'\x41'`, `/* */`, "`x`",
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `{{.}}`, `&lt;`,
	`../../etc/passwd`, `..\..\boot.ini`, `/dev/null`, `C:\CON`, "a\nb", "a\r\tb", "\x1b[2J", "\u202egnp.exe", "\ufeff", "ß ﬃ İ", "𝕏", " ", strings.Repeat("x", 256),
}

// broken is what is no text.
var broken = []string{"a\x00b", "\xff\xfe", "\xc3\x28", strings.Repeat("x", 257)}

func TestAttackHostileText(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		r := addRelease(t, s, "fw.bin", image(100))
		for i, text := range hostile {
			by := store.By{Actor: text, At: start}
			v := must(s.PutSetting(ctx, store.Setting{Name: text, Value: text}, by))(t)
			if got := must(s.Setting(ctx, text))(t); got != v {
				t.Errorf("setting %q came back as %+v", text, got)
			}
			token, secret, err := s.CreateToken(ctx, text, store.RoleViewer, by)
			wantNil(t, err)
			if got := must(s.Authenticate(ctx, secret, start))(t); got.Name != text || got.Created != by {
				t.Errorf("token of %q came back as %+v", text, got)
			}
			if l := must(s.Tokens(ctx, text, store.Page{}))(t); len(l.Items) != 1 || l.Items[0].ID != token.ID {
				t.Errorf("tokens of %q: %+v", text, l)
			}
			c := draft(byte(i+1), r)
			c.Name = text
			must(s.AddCampaign(ctx, c, by))(t)
			if l := must(s.Campaigns(ctx, store.CampaignFilter{Name: text}, store.Page{}))(t); len(l.Items) != 1 || l.Items[0].ID != c.ID || l.Items[0].Created != by {
				t.Errorf("campaigns called %q: %+v", text, l)
			}
			wantNil(t, s.AddEvents(ctx, store.Event{At: start, Actor: text, Action: text, Subject: text, Campaign: text}))
			if l := must(s.Events(ctx, store.EventFilter{Actor: text, Action: text, Subject: text, Campaign: text}, store.Page{}))(t); len(l.Items) != 1 {
				t.Errorf("events of %q: %+v", text, l)
			}
			claim, _, err := s.ClaimRequest(ctx, text, text, []byte(text), start, time.Minute)
			wantNil(t, err)
			wantNil(t, s.AnswerRequest(ctx, claim, store.Answer{Status: 200, Body: []byte(text)}, start.Add(time.Hour)))
			if _, a, err := s.ClaimRequest(ctx, text, text, []byte(text), start, time.Minute); err != nil || a == nil || string(a.Body) != text {
				t.Errorf("answer to %q: %+v, %v", text, a, err)
			}
			wantNil(t, s.ReportDevices(ctx, c.ID, store.Report{Device: "d", State: commit.State(text), Reason: commit.Reason(text), At: start}))
			if l := must(s.Reports(ctx, c.ID, store.ReportFilter{States: []commit.State{commit.State(text)}}, store.Page{}))(t); len(l.Items) != 1 || string(l.Items[0].Reason) != text {
				t.Errorf("reports of %q: %+v", text, l)
			}
		}
		// Nothing that was asked above by one text was another's.
		if l := must(s.Campaigns(ctx, store.CampaignFilter{}, store.Page{}))(t); len(l.Items) != len(hostile) {
			t.Errorf("%d campaigns, want %d", len(l.Items), len(hostile))
		}
	})
}

func TestHostileNamesAreRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		wantNil(t, s.SeeDevices(ctx, store.Sighting{"d", "p", "h", "v", start}))
		r := addRelease(t, s, "fw.bin", image(100))
		campaign := must(s.AddCampaign(ctx, draft(1, r), alice))(t)
		for _, text := range append(hostile[:len(hostile):len(hostile)], broken...) {
			by := store.By{Actor: "a", At: start}
			wantErr(t, s.SeeDevices(ctx, store.Sighting{text, "p", "h", "", start}), store.ErrInvalid)
			wantErr(t, s.SeeDevices(ctx, store.Sighting{"d", text, "h", "", start}), store.ErrInvalid)
			wantErr(t, s.SeeDevices(ctx, store.Sighting{"d", "p", text, "", start}), store.ErrInvalid)
			wantErr(t, s.SeeDevices(ctx, store.Sighting{"d", "p", "h", text, start}), store.ErrInvalid)
			wantErr(t, s.PlaceDevice(ctx, "d", 1, text, nil, by), store.ErrInvalid)
			wantErr(t, s.PlaceDevice(ctx, "d", 1, "", []string{text}, by), store.ErrInvalid)
			wantErr(t, s.ReportDevices(ctx, campaign.ID, store.Report{Device: text, At: start}), store.ErrInvalid)
			_, _, err := s.CreateToken(ctx, text, store.RoleDevice, by)
			wantErr(t, err, store.ErrInvalid)
			_, _, err = s.CreateToken(ctx, "bob", store.Role(text), by)
			wantErr(t, err, store.ErrInvalid)
			_, _, err = s.CreateEnrolment(ctx, store.Enrolment{Device: text, Expires: start.Add(1)}, by)
			wantErr(t, err, store.ErrInvalid)
			_, err = s.Device(ctx, text)
			if err == nil {
				t.Errorf("there is a device %q", text)
			}
			for _, sel := range []store.Selector{{Products: []string{text}}, {Sites: []string{text}}, {Tags: []string{text}}, {Devices: []string{text}}} {
				_, err = s.SelectTargets(ctx, sel, true)
				wantErr(t, err, store.ErrInvalid)
			}
		}
		for _, text := range broken {
			by := store.By{Actor: text, At: start}
			// What was done by nobody was not done.
			_, err := s.PutSetting(ctx, store.Setting{Name: "quota", Value: "1"}, by)
			wantErr(t, err, store.ErrInvalid)
			if v := must(s.Setting(ctx, "quota"))(t); v.Revision != 0 {
				t.Errorf("%q has made %+v", text, v)
			}
			_, err = s.PutSetting(ctx, store.Setting{Name: text}, alice)
			wantErr(t, err, store.ErrInvalid)
			c := draft(2, r)
			c.Name = text
			_, err = s.AddCampaign(ctx, c, alice)
			wantErr(t, err, store.ErrInvalid)
			_, _, err = s.ClaimRequest(ctx, "a", text, nil, start, time.Minute)
			wantErr(t, err, store.ErrInvalid)
			_, err = s.TakeLease(ctx, campaign.ID, store.Owner(text), start, time.Minute)
			wantErr(t, err, store.ErrInvalid)
		}
	})
}
