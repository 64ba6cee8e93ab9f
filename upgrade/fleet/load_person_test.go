package fleet_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/internal/fleettest"
)

// An outlook is what the process of a person is told first: with a token it looks at the page and at the REST API.
type outlook struct{ URL, Token, Page, REST string }

// personInterval is how often each of both is asked for.
const personInterval = 100 * time.Millisecond

// A sight is the answers that a person waited for, as they came.
type sight []glance

// A glance is one of them.
type glance struct {
	Asked time.Time
	Took  time.Duration
}

// within returns how long the answers took that were under way at some time between two moments: half of them, 99 %, and all.
func (s sight) within(from, to time.Time) (took [3]time.Duration) {
	var all []time.Duration
	for _, g := range s {
		if g.Asked.Before(to) && g.Asked.Add(g.Took).After(from) {
			all = append(all, g.Took)
		}
	}
	if n := len(all); n > 0 {
		slices.Sort(all)
		took = [3]time.Duration{all[n/2], all[n*99/100], all[n-1]}
	}
	return took
}

// runPerson is the process of a person: it asks for the page and for the REST answer of a campaign until standard input ends,
// each over a connection of its own, and says how long the answers took. One that is a refusal ends it.
func runPerson(in *json.Decoder, out *json.Encoder) error {
	var o outlook
	if err := in.Decode(&o); err != nil {
		return err
	}
	at, err := url.Parse(o.URL)
	if err != nil {
		return err
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	client := func(jar http.CookieJar) *http.Client {
		return &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: discovery.ClientTLS(fleettest.ServerKey.Public(), at.Hostname(), time.Now), ForceAttemptHTTP2: true}}
	}
	browser := client(jar)
	answer, err := browser.PostForm(o.URL+"/login", url.Values{"token": {o.Token}, "next": {o.Page}})
	if err == nil {
		err = read(answer)
	}
	if err != nil {
		return fmt.Errorf("login: %w", err)
	}
	end := make(chan struct{})
	var work sync.WaitGroup
	var sights [2]sight
	var errs [2]error
	work.Go(func() { sights[0], errs[0] = look(browser, o.URL+o.Page, "", end) })
	work.Go(func() { sights[1], errs[1] = look(client(nil), o.URL+o.REST, o.Token, end) })
	if err := in.Decode(new(string)); err != io.EOF {
		return err
	}
	close(end)
	work.Wait()
	return errors.Join(errs[0], errs[1], out.Encode(sights))
}

func look(client *http.Client, url, token string, end <-chan struct{}) (sight, error) {
	tick := time.NewTicker(personInterval)
	defer tick.Stop()
	var s sight
	for {
		select {
		case <-tick.C:
		case <-end:
			if len(s) == 0 {
				return nil, errors.New("nobody looked")
			}
			return s, nil
		}
		r, err := http.NewRequest("GET", url, nil)
		if err != nil {
			return nil, err
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		begun := time.Now()
		answer, err := client.Do(r)
		if err == nil {
			err = read(answer)
		}
		if err != nil {
			return nil, err
		}
		s = append(s, glance{begun, time.Since(begun)})
	}
}

// read reads an answer that has to be a success.
func read(answer *http.Response) error {
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s\n%.300s", answer.Request.URL.Path, answer.Status, body)
	}
	return err
}
