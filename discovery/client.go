package discovery

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	defaultWait = 25 * time.Second
	minBackoff  = time.Second
	lostBackoff = 4 * time.Second // over which devices spread that lose a server together
	maxBackoff  = time.Minute
	maxJitter   = time.Second // so that devices whose patience ends together do not ask together
)

// A Client is a device's side of the rendezvous. It talks to one origin only and follows no redirect.
type Client struct {
	base string // without a trailing slash
	http *http.Client

	// Device is who polls: a server of many campaigns tells each device its own. If empty, the server is not told.
	Device string
	// Wait is how long a poll may wait at the server. If zero, 25 s.
	Wait time.Duration
	// Timeout bounds every other exchange. If zero, 30 s.
	Timeout time.Duration
	// Hints, if there are any, have Follow poll when they are worth it, and rarely without, in place of waiting at the
	// server all the time.
	Hints *Hints
}

// NewClient returns a client for the server at base, such as "https://updates.example.net:8443". If transport is nil,
// http.DefaultTransport is used.
func NewClient(base string, transport http.RoundTripper) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("server %q is not like https://updates.example.net:8443", base)
	}
	return &Client{base: strings.TrimSuffix(base, "/"), http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Hello shows the device to the server.
func (c *Client) Hello(ctx context.Context, h Hello) error { return c.post(ctx, "/v1/hello", h) }

// Status tells how far the device is.
func (c *Client) Status(ctx context.Context, s Status) error { return c.post(ctx, "/v1/status", s) }

// Vote delivers a vote; nil means the server has it on disk.
func (c *Client) Vote(ctx context.Context, s Statement) error { return c.post(ctx, "/v1/vote", s) }

// Outcome delivers an outcome; nil means the server has it on disk.
func (c *Client) Outcome(ctx context.Context, s Statement) error {
	return c.post(ctx, "/v1/outcome", s)
}

// GroupKey asks for the group key of a campaign.
func (c *Client) GroupKey(ctx context.Context, r KeyRequest) ([]byte, error) {
	return c.short(ctx, http.MethodPost, "/v1/groupkey", must(encoding.Marshal(r)))
}

// FileKeys asks for the file keys of a campaign's sealed images, as the request's recipient can unwrap them.
func (c *Client) FileKeys(ctx context.Context, r FileKeyRequest) ([]byte, error) {
	return c.short(ctx, http.MethodPost, "/v1/filekeys", must(encoding.Marshal(r)))
}

// Adopt shows the server a signed decision it may have lost.
func (c *Client) Adopt(ctx context.Context, campaign string, wave uint32, decision []byte) error {
	_, err := c.short(ctx, http.MethodPost, decisionPath(campaign, wave), decision)
	return err
}

// Decision returns the signed decision of a wave, ErrUndecided, or ErrUnknown.
func (c *Client) Decision(ctx context.Context, campaign string, wave uint32) ([]byte, error) {
	b, err := c.short(ctx, http.MethodGet, decisionPath(campaign, wave), nil)
	if err == nil && len(b) == 0 {
		err = ErrUndecided
	}
	return b, err
}

// Brake returns the signed HOLD or RESUME last given, nil if there was none, or ErrUnknown.
func (c *Client) Brake(ctx context.Context, campaign string) ([]byte, error) {
	return c.short(ctx, http.MethodGet, "/v1/campaigns/"+campaign+"/brake", nil)
}

// Root returns the signed root document of a version, or ErrNoRoot. It proves itself, so it may be asked for from whoever
// answers in the server's place: a device whose server has another key by now learns so by it.
func (c *Client) Root(ctx context.Context, version uint64) ([]byte, error) {
	b, err := c.short(ctx, http.MethodGet, "/v1/roots/"+strconv.FormatUint(version, 10), nil)
	if refusal, ok := errors.AsType[*Refusal](err); ok && refusal.Status == http.StatusNotFound {
		err = ErrNoRoot // so it is at a server that knows nothing of roots
	}
	return b, err
}

func decisionPath(campaign string, wave uint32) string {
	return "/v1/campaigns/" + campaign + "/decision/" + strconv.FormatUint(uint64(wave), 10)
}

// Fetch reads len(b) bytes of an object of a campaign from offset on.
func (c *Client) Fetch(ctx context.Context, campaign string, toi uint16, b []byte, offset int64) error {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.Timeout, 30*time.Second))
	defer cancel()
	r, err := c.request(ctx, http.MethodGet, fmt.Sprintf("/v1/campaigns/%s/objects/%d", campaign, toi), nil)
	if err != nil {
		return err
	}
	r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, offset+int64(len(b))-1))
	resp, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusPartialContent {
		_, err := answer(resp)
		return cmp.Or(err, fmt.Errorf("discovery: the server does not serve ranges (%s)", resp.Status))
	}
	_, err = io.ReadFull(resp.Body, b)
	return err
}

// Poll waits until what is announced is another than etag names, at most Wait, and returns it with its etag. If nothing
// is announced, or nothing else, the notice is nil.
func (c *Client) Poll(ctx context.Context, etag string) (*Notice, string, error) {
	return c.poll(ctx, etag, cmp.Or(c.Wait, defaultWait))
}

func (c *Client) poll(ctx context.Context, etag string, wait time.Duration) (*Notice, string, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+30*time.Second)
	defer cancel()
	r, err := c.request(ctx, http.MethodGet, "/v1/notice?"+c.query(wait), nil)
	if err != nil {
		return nil, etag, err
	}
	if etag != "" {
		r.Header.Set("If-None-Match", etag)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, etag, err
	}
	defer resp.Body.Close()
	body, err := answer(resp)
	if err != nil {
		return nil, etag, err
	}
	if tag := resp.Header.Get("ETag"); resp.StatusCode != http.StatusOK {
		return nil, cmp.Or(tag, etag), nil
	}
	n, err := ParseNotice(body)
	if err != nil {
		return nil, etag, err
	}
	n.spread = pollSpread(resp.Header)
	return &n, resp.Header.Get("ETag"), nil
}

func (c *Client) query(wait time.Duration) string {
	q := url.Values{"wait": {strconv.Itoa(int(wait / time.Second))}}
	if c.Device != "" {
		q.Set("device", c.Device)
	}
	return q.Encode()
}

// Follow polls until ctx ends and calls f for each new notice. When the server cannot be reached, trouble is called with
// the reason, and polls back off to one a minute, or as Hints rest, each at a random moment, so that a server that comes back
// is not met by all devices at once.
func (c *Client) Follow(ctx context.Context, f func(*Notice), trouble func(error)) error {
	etag, backoff := "", minBackoff
	for {
		wait, longest := cmp.Or(c.Wait, defaultWait), maxBackoff
		if c.Hints != nil {
			c.Hints.polling(time.Now())
		}
		if !c.Hints.busy() {
			wait, longest = 0, c.Hints.cfg.Rest
		}
		n, tag, err := c.poll(ctx, etag, wait)
		pause := rand.N(maxJitter)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			trouble(err)
			pause = rand.N(backoff) + minBackoff/4
			if refusal, ok := errors.AsType[*Refusal](err); ok && refusal.retryAfter > 0 {
				pause += time.Duration(refusal.retryAfter) * time.Second
			}
			backoff = min(2*backoff, longest)
		default:
			etag, backoff = tag, lostBackoff
			if n != nil {
				f(n)
				pause = n.spread/4 + rand.N(n.spread*3/4) // others may yet have to be told
			}
		}
		c.Hints.rest(ctx.Done(), pause, err != nil)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

func (c *Client) post(ctx context.Context, path string, message any) error {
	_, err := c.short(ctx, http.MethodPost, path, must(encoding.Marshal(message)))
	return err
}

// short makes an exchange that does not wait at the server.
func (c *Client) short(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.Timeout, 30*time.Second))
	defer cancel()
	r, err := c.request(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return answer(resp)
}

func (c *Client) request(ctx context.Context, method, path string, body []byte) (*http.Request, error) {
	return http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
}

// answer returns the body of a success, or why it is none.
func answer(resp *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, err
	case len(body) > maxBody:
		return nil, fmt.Errorf("discovery: the server's answer is longer than %d bytes", maxBody)
	case resp.StatusCode < 300 || resp.StatusCode == http.StatusNotModified:
		return body, nil
	}
	var p struct{ Title, Detail string }
	if json.Unmarshal(body, &p) != nil || p.Title == "" {
		return nil, &Refusal{Status: resp.StatusCode, Reason: "http", Detail: resp.Status}
	}
	if p.Title == "unknown" && resp.StatusCode == http.StatusNotFound {
		return nil, ErrUnknown
	}
	after, _ := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16)
	return nil, &Refusal{Status: resp.StatusCode, Reason: p.Title, Detail: p.Detail, retryAfter: int(after)}
}
