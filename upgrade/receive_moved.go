package upgrade

import (
	"context"
	"net/http"
	"time"
)

// rejoinTime is how long a session may refuse to be joined after that: routes come behind addresses.
const rejoinTime = 10 * time.Second

// followNetwork joins the session anew when the device is attached to the network in another way: it has another address, or
// another interface under the same name. Verified leaves stay; what was under way of blocks is asked for again.
func (r *reception) followNetwork(ctx context.Context, now time.Time) {
	if r.a.cfg.attachment == nil {
		return
	}
	at := r.a.cfg.attachment(r.s)
	if at == "" {
		return // not attached at all it has nothing to join
	}
	if at != r.attached {
		r.a.log.Info("the network has changed, the session is joined anew", "was", r.attached, "is", at)
		if r.net != nil {
			r.listen(ctx)
			r.past = r.traffic
			r.net.close()
			r.net = nil
		}
		r.a.dropConnections()
		r.attached, r.moved, r.health = at, now, health{}
	}
	if r.moved.IsZero() {
		return
	}
	r.keyDue = now // the key may be asked for again
	if r.joinLater(ctx, now); r.net != nil {
		r.moved = time.Time{}
	} else if now.Sub(r.moved) >= rejoinTime {
		r.moved = time.Time{}
		r.fallBack(now, "multicast cannot be used since the network has changed")
	}
}

// dropConnections gives up connections to the server and the gateway, which are from an address that the device has no more.
func (a *Agent) dropConnections() {
	for _, transport := range []http.RoundTripper{a.cfg.Transport, a.cfg.TailTransport} {
		if t, ok := transport.(interface{ Drop() }); ok {
			t.Drop()
		}
	}
}
