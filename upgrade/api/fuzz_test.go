package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/internal/fleettest"
	"github.com/multicast-upgrade/tool/upgrade/api"
	"github.com/multicast-upgrade/tool/upgrade/api/rest"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// FuzzAPI makes requests of any method, path, headers and body, as one of the people or with a secret of its own, of a server
// that stays the same: {campaign}, {release}, {device} and {revision} stand for what it has. No request is the server's fault,
// and who may not change anything changes nothing.
func FuzzAPI(f *testing.F) {
	who := []string{"", "no such secret", "vera", "anna", "otto", "carl", "alma", "device-1"}
	for _, op := range api.Operations() {
		for person := range who {
			f.Add(uint8(person), op.Method, "/api/v1"+op.Path+"?limit=2", `"{revision}"`, "application/json", []byte("{}"))
		}
	}
	f.Add(uint8(3), "POST", "/api/v1/campaigns", "", "application/json",
		[]byte(`{"name":"spring","release":"{release}","settings":{"targets":{"products":["phone"]},"transport":{"rate":2000000},"policy":{"waves":[{"readyTimeout":600}]}}}`))
	f.Add(uint8(3), "PATCH", "/api/v1/devices/{device}", `"1"`, "application/merge-patch+json", []byte(`{"site":"berlin","labels":{"a":"b"}}`))
	f.Add(uint8(6), "GET", "/api/v1/events?after=x&limit=-1", "", "text/event-stream", []byte(nil))
	f.Add(uint8(6), "PUT", "/api/v1/releases/../%2e%2e/images/fw", `W/"1"`, "application/octet-stream", []byte("image"))

	st := fleettest.Open(f, fleettest.SQLite(f))
	secrets := map[string]string{"no such secret": strings.Repeat("0", 32)}
	for name, role := range people {
		var err error
		if _, secrets[name], err = st.CreateToken(f.Context(), name, role, fleettest.By("console")); err != nil {
			f.Fatal(err)
		}
	}
	fleettest.Enrol(f, st, "berlin", "phone-00")
	var net fleettest.Network
	s, err := fleet.Open(f.Context(), fleettest.Config(st, &net))
	if err != nil {
		f.Fatal(err)
	}
	ctx, stop := context.WithCancel(f.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	f.Cleanup(func() {
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			f.Error(err)
		}
	})
	image := fleettest.Image(100_000)
	rel, err := s.AddRelease(f.Context(), fleettest.Release(f, fleettest.ReleaseKey, "fw", image, nil), "anna")
	if err == nil {
		err = s.AddImage(f.Context(), rel.ID, "fw", bytes.NewReader(image), "anna")
	}
	if err != nil {
		f.Fatal(err)
	}
	campaign, err := s.Create(f.Context(), "winter", rel.ID, store.CampaignSettings{
		Targets: store.Selector{Products: []string{"phone"}}, Policy: store.Policy{Waves: []store.Wave{{ReadyTimeout: time.Hour}}}}, "anna")
	if err != nil {
		f.Fatal(err)
	}
	known := strings.NewReplacer("{campaign}", campaign.ID.String(), "{release}", rel.ID.String(), "{device}", "phone-00", "{revision}", "1")
	a := api.New(api.Config{Fleet: s, Key: fleettest.ServerKey.Public(), URL: "http://127.0.0.1:8443", Version: "test",
		Limits: api.Limits{PerToken: 1e9, PerAddress: 1e9, Guesses: 1e9}})

	f.Fuzz(func(t *testing.T, person uint8, method, path, match, content string, body []byte) {
		target, err := url.ParseRequestURI(known.Replace(path))
		if err != nil || target.Scheme != "" {
			return // it does not reach a handler
		}
		name := who[int(person)%len(who)]
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		body = []byte(known.Replace(string(body)))
		q := (&http.Request{Method: method, URL: target, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: "server", RemoteAddr: "192.0.2.1:1000",
			RequestURI: target.RequestURI(), ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
			Header: http.Header{"If-Match": {known.Replace(match)}, "Content-Type": {content}, "Accept": {content}}}).WithContext(ctx)
		if secret, ok := secrets[name]; ok {
			q.Header.Set("Authorization", "Bearer "+secret)
		}
		before, err := st.LastEvent(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w := &impatient{httptest.NewRecorder(), cancel}
		a.ServeHTTP(w, q)
		if ctx.Err() == nil || w.Flushed {
			w.judge(t, method, target)
		} else {
			t.Errorf("%s %s: no answer in 10 s", method, target)
		}
		switch name {
		case "", "no such secret", "vera", "device-1":
			if after, err := st.LastEvent(t.Context()); err != nil || after != before {
				t.Errorf("%s %s of %q changed something (%v)", method, target, name, err)
			}
		}
	})
}

// An impatient recorder hears the beginning of a stream.
type impatient struct {
	*httptest.ResponseRecorder
	leave func()
}

func (w *impatient) Flush() {
	w.ResponseRecorder.Flush()
	w.leave()
}

// judge wants an answer that is no fault of the server. That another server, or nobody yet, leads a campaign is none.
func (w *impatient) judge(t *testing.T, method string, target *url.URL) {
	t.Helper()
	if w.Code < 500 {
		return
	}
	var p rest.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != http.StatusServiceUnavailable || p.Reason != rest.ReasonElsewhere {
		t.Errorf("%s %s: %d %s", method, target, w.Code, w.Body)
	}
}
