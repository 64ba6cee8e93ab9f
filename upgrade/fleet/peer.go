package fleet

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// What is asked of a campaign at a server that does not lead it goes to the one that does, at the URL in the lease, below
// /peer/. Servers know each other by the server key, which they have in common: the one that asks by a certificate that the
// key made, the one that is asked by a pass, a time that the key signed. What comes by /peer/ is done there or refused: it
// is passed on once.
//
// That is simpler than to leave messages in the store for the leader to find, and sounder: a vote is acknowledged by who
// has it in the log, errors come back as they are, a leader that cannot keep up slows down who asks, and nothing has to
// be cleaned up. What everybody may read is in the store instead: notices, reports, the audit trail.

const (
	peerTimeout = 10 * time.Second // of one request to another server
	peerConns   = 64               // to one other server
	maxPassed   = 2048             // requests to other servers under way; devices beyond that come again
	maxAnswer   = 8 << 20          // bytes of one answer
	passLife    = time.Minute      // clocks of servers are closer than that
	passContext = "multicast-upgrade fleet pass 1"
	// peerName is what servers call each other in TLS, wherever they are.
	peerName = "peer.upgrade.invalid"
)

// peers are the other servers on the store.
type peers struct {
	key       *manifest.PrivateKey
	log       *slog.Logger
	http      *http.Client
	transport *http.Transport // nil: somebody else's
	passed    chan struct{}   // holds one for each request that is under way

	mu   sync.Mutex // guards all below
	pass string
	made time.Time // of pass
}

func newPeers(cfg Config) (*peers, error) {
	p := &peers{key: cfg.Key, log: cfg.Log, passed: make(chan struct{}, maxPassed)}
	transport := cfg.Peers
	if transport == nil {
		secure := discovery.ClientTLS(cfg.Key.Public(), peerName, time.Now)
		secure.ServerName = peerName
		p.transport = &http.Transport{TLSClientConfig: secure, MaxConnsPerHost: peerConns, MaxIdleConnsPerHost: peerConns, IdleConnTimeout: time.Minute}
		transport = p.transport
	}
	p.http = &http.Client{Transport: bearer{p, transport}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return p, nil
}

func (p *peers) close() {
	if p.transport != nil {
		p.transport.CloseIdleConnections()
	}
}

// A bearer shows the pass with each request.
type bearer struct {
	peers *peers
	next  http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	pass, err := b.peers.showPass(time.Now())
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+pass)
	return b.next.RoundTrip(r)
}

// showPass returns a pass that is good for a while.
func (p *peers) showPass(now time.Time) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if age := now.Sub(p.made); p.pass == "" || age < 0 || age > passLife/4 {
		signed, err := p.key.Sign(passContext, binary.BigEndian.AppendUint64(nil, uint64(now.Unix())))
		if err != nil {
			return "", err
		}
		p.pass, p.made = base64.RawURLEncoding.EncodeToString(signed), now
	}
	return p.pass, nil
}

// admits reports whether a pass was made with the server key, a moment ago.
func (p *peers) admits(pass string, now time.Time) bool {
	signed, err := base64.RawURLEncoding.DecodeString(pass)
	if err != nil {
		return false
	}
	at, err := p.key.Public().Verify(passContext, signed)
	if err != nil || len(at) != 8 {
		return false
	}
	age := now.Sub(time.Unix(int64(binary.BigEndian.Uint64(at)), 0))
	return -passLife < age && age < passLife
}

// errAway is wrapped when the leader cannot be asked.
var errAway = errors.New("fleet: the server that leads the campaign does not answer")

// enter takes a place among the requests that are under way, for one to a server whose address is known.
func (p *peers) enter(to store.Owner) (leave func(), err error) {
	if to.URL() == "" {
		return nil, fmt.Errorf("%w: its address is not known", errAway)
	}
	select {
	case p.passed <- struct{}{}:
		return func() { <-p.passed }, nil
	default:
		return nil, fmt.Errorf("%w: %d requests are under way", errAway, maxPassed)
	}
}

// device asks the leader for a device. What the leader refuses is told as it was; that it cannot be asked is [errAway].
func (p *peers) device(to store.Owner, f func(*discovery.Client) error) error {
	leave, err := p.enter(to)
	if err != nil {
		return err
	}
	defer leave()
	c, err := discovery.NewClient(to.URL()+"/peer", p.http.Transport)
	if err != nil {
		return fmt.Errorf("%w: %w", errAway, err)
	}
	c.Timeout = peerTimeout
	err = f(c)
	refusal, refused := errors.AsType[*discovery.Refusal](err)
	switch {
	case err == nil, errors.Is(err, discovery.ErrUnknown), errors.Is(err, discovery.ErrUndecided):
		return err
	case refused && refusal.Status != http.StatusUnauthorized && refusal.Reason != "http":
		return err
	}
	p.log.Warn("a request was not passed on to the server that leads the campaign", "to", to.Actor(), "err", err)
	return fmt.Errorf("%w: %w", errAway, err)
}

// ask makes a request to the leader and reads its answer into v, if that is not nil.
func (p *peers) ask(ctx context.Context, to store.Owner, method, path string, body, v any) error {
	leave, err := p.enter(to)
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	var b []byte
	if body != nil {
		if b, err = json.Marshal(body); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, to.URL()+"/peer/v1"+path, bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("%w: %w", errAway, err)
	}
	resp, err := p.http.Do(r)
	if err != nil {
		return fmt.Errorf("%w: %w", errAway, err)
	}
	defer resp.Body.Close()
	b, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errAway, err)
	case resp.StatusCode == http.StatusConflict:
		var e peerError
		if err := json.Unmarshal(b, &e); err != nil {
			return fmt.Errorf("%w: %w", errAway, err)
		}
		return e.error()
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%w: %s", errAway, resp.Status)
	case v == nil:
		return nil
	}
	return json.Unmarshal(b, v)
}

// An order is what a person wants of a campaign that runs.
type order struct {
	Campaign commit.CampaignID `json:"campaign"`
	Action   string            `json:"action"` // as the audit trail has it
	Actor    string            `json:"actor"`
	Wave     *uint32           `json:"wave,omitempty"`     // that is to be committed, counted from 0; nil: the one that is open
	Approval []byte            `json:"approval,omitempty"` // signed by an approver
}

// A peerError is an error on its way between servers.
type peerError struct {
	Kind string `json:"kind"` // a word of peerErrors; empty: another error
	Text string `json:"text"`
	is   error
}

func (e *peerError) Error() string { return e.Text }
func (e *peerError) Unwrap() error { return e.is }

// peerErrors are the errors that a caller may ask for.
var peerErrors = map[string]error{
	"decided": commit.ErrDecided, "not-ready": commit.ErrNotReady, "restored": commit.ErrRestored, "closed": commit.ErrClosed, "paused": commit.ErrPaused, "log": commit.ErrLog,
	"away": errAway, "state": store.ErrState, "not-found": store.ErrNotFound, "invalid": store.ErrInvalid,
	"not-approved": commit.ErrNotApproved, "unknown": commit.ErrUnknown, "message": commit.ErrMessage, "signature": manifest.ErrSignature,
}

func newPeerError(err error) *peerError {
	e := &peerError{Text: err.Error()}
	if _, ok := errors.AsType[*NotLeaderError](err); ok {
		e.Kind = "away" // it was the leader a moment ago
		return e
	}
	for kind, is := range peerErrors {
		if errors.Is(err, is) {
			e.Kind = kind
		}
	}
	return e
}

func (e *peerError) error() error {
	e.is = peerErrors[e.Kind]
	return e
}
