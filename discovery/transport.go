package discovery

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"
)

// How long a connection may be silent before it is tried, which a poll is not, and how long the other side may take then.
const (
	pingAfter   = 35 * time.Second
	pingTimeout = 10 * time.Second
)

// A Transport carries what a device exchanges with one server. It uses no proxy, and gives up connections over which nothing
// comes any more: all requests share one, and would go on failing with it.
type Transport struct {
	*http.Transport

	mu    sync.Mutex
	conns map[net.Conn]bool // open ones; guarded by mu
}

// NewTransport returns a Transport with that TLS configuration, nil for what the system trusts.
func NewTransport(secure *tls.Config) *Transport {
	t := &Transport{Transport: http.DefaultTransport.(*http.Transport).Clone(), conns: make(map[net.Conn]bool)}
	t.Proxy = nil
	t.TLSClientConfig = secure
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout}
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.conns[c] = true
		return &trackedConn{c, t}, nil
	}
	return t
}

// Drop closes all connections, and has what is under way on them fail: it is for a device whose address has changed, of which
// they do not know.
func (t *Transport) Drop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.conns {
		c.Close() // its owner closes it again
	}
}

// A trackedConn is one that its Transport knows of until it is closed.
type trackedConn struct {
	net.Conn
	t *Transport
}

func (c *trackedConn) Close() error {
	c.t.mu.Lock()
	delete(c.t.conns, c.Conn)
	c.t.mu.Unlock()
	return c.Conn.Close()
}
