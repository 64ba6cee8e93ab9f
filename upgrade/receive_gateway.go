package upgrade

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
)

// A gatewayClient fetches from a gateway of the site, so that what is missing crosses the long line once. It is asked for
// content and told nothing: votes and reports go to the server.
type gatewayClient struct {
	*discovery.Client

	mu    sync.Mutex
	rests time.Time // not asked before this
}

// How long a gateway is waited for, before the server is asked in its place.
const (
	gatewayPatience = 2 * time.Minute  // it says that the bytes are on their way
	gatewayUnknown  = 30 * time.Second // it has not heard of the campaign, and may be about to
	gatewayRest     = time.Minute      // and so long it is left alone then
	gatewayDistrust = time.Hour        // what it gave was wrong
)

// fetch fetches bytes of an object, from the site's gateway if there is one, else from the server. Whether they are
// right is for the caller to find out, wherever they came from.
func (a *Agent) fetch(ctx context.Context, campaign string, toi uint16, b []byte, off int64) (byGateway bool, err error) {
	if g := a.gateway; g != nil && g.fetch(ctx, campaign, toi, b, off) {
		return true, nil
	}
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	return false, a.client.Fetch(ctx, campaign, toi, b, off)
}

// fetch reports whether the gateway gave the bytes. If it did not it is left alone for a while.
func (g *gatewayClient) fetch(ctx context.Context, campaign string, toi uint16, b []byte, off int64) bool {
	if g.resting(time.Now()) {
		return false
	}
	for begun := time.Now(); ; {
		err := g.Fetch(ctx, campaign, toi, b, off)
		if err == nil || ctx.Err() != nil {
			return err == nil
		}
		waited := time.Since(begun)
		refusal, _ := errors.AsType[*discovery.Refusal](err)
		switch {
		case refusal != nil && refusal.Status == http.StatusServiceUnavailable && waited < gatewayPatience:
		case refusal != nil && refusal.Status == http.StatusNotFound && waited < gatewayUnknown:
		default:
			g.rest(gatewayRest)
			return false
		}
		if !pause(ctx, minRetry+rand.N(minRetry)) {
			return false
		}
	}
}

func (g *gatewayClient) resting(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return now.Before(g.rests)
}

func (g *gatewayClient) rest(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rests = time.Now().Add(d)
}

// distrust leaves a gateway alone that gave wrong bytes.
func (r *reception) distrust(byGateway bool) {
	if !byGateway {
		return
	}
	r.a.gateway.rest(gatewayDistrust)
	r.a.tell.tell(Event{Kind: EventTrouble, Campaign: r.c.round.Campaign.String(), State: commit.StateReceiving,
		Detail: "the gateway " + r.a.cfg.Tail + " gave wrong bytes; it is not asked for an hour"})
}
