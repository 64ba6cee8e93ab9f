package upgrade

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/netutil"

	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/norm/udp"
)

// maxConnections bounds the connections to the rendezvous of one campaign.
const maxConnections = 32768

// A Shared is a rendezvous that serves many campaigns.
type Shared struct {
	Handler *discovery.Handler        // its [discovery.Backend] passes on to [Campaign.Backend] what is for the campaign
	URL     string                    // as devices know it
	Seats   map[string]discovery.Seat // of the targets; nobody else is told of the campaign
}

// Backend answers devices for the campaign while it runs.
func (c *Campaign) Backend() discovery.Backend { return backend{c} }

// listen takes the port of the rendezvous; a new campaign gets its address and URL from it.
func (c *Campaign) listen() error {
	if c.cfg.Shared != nil {
		c.frozen.URL = c.cfg.Shared.URL
		return nil
	}
	address := c.frozen.Address
	if address == "" {
		address = c.frozen.Settings.Listen
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("--listen %s: want ADDRESS:PORT", address)
	}
	if c.listener, err = c.cfg.Bind("tcp", address); err != nil {
		return fmt.Errorf("--listen %s: %w", address, err)
	}
	if c.frozen.Address == "" {
		c.frozen.Address = c.listener.Addr().String()
		if c.frozen.URL, err = c.advertised(host); err != nil {
			return err
		}
	}
	if c.cfg.TLS != nil || !loopback(c.frozen.Address) {
		return c.secure(host)
	}
	return nil
}

// advertised returns the URL of a new campaign's rendezvous.
func (c *Campaign) advertised(host string) (string, error) {
	if s := c.frozen.Settings.Advertise; s != "" {
		u, err := url.Parse(s)
		switch {
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.ContainsAny(s, "?#"):
			return "", fmt.Errorf("--advertise %q: want a URL like https://updates.example.net:8443", s)
		case u.Scheme == "http" && !loopbackHost(u.Hostname()):
			return "", fmt.Errorf("--advertise %s: devices beyond this host need https", s)
		}
		return strings.TrimSuffix(s, "/"), nil
	}
	_, port, err := net.SplitHostPort(c.frozen.Address)
	if err != nil {
		return "", err
	}
	scheme := "https"
	if c.cfg.TLS == nil && loopback(c.frozen.Address) {
		scheme = "http"
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		if host, err = addressOf(c.frozen.Settings.Interface); err != nil {
			return "", err
		}
		if host == "" {
			return "", errors.New("--advertise URL is required: --listen names no address that devices could use")
		}
	}
	return scheme + "://" + net.JoinHostPort(host, port), nil
}

// addressOf returns an address of an interface that devices can reach, empty if there is none or no interface is named.
func addressOf(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	ifc, given, err := udp.InterfaceFor(name)
	if err != nil || given.IsValid() {
		return given.String(), err
	}
	addrs, _ := ifc.Addrs()
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && !prefix.Addr().IsLinkLocalUnicast() {
			return prefix.Addr().String(), nil
		}
	}
	return "", nil
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && loopbackHost(host)
}

func loopbackHost(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// secure prepares TLS: with what was given, or with a key that the server key certifies.
func (c *Campaign) secure(host string) (err error) {
	if c.cfg.TLS != nil {
		return nil
	}
	u, err := url.Parse(c.frozen.URL)
	if err != nil {
		return err
	}
	hosts := []string{u.Hostname(), "localhost", "127.0.0.1", "::1"}
	if ip, err := netip.ParseAddr(host); err == nil && !ip.IsUnspecified() || err != nil && host != "" {
		hosts = append(hosts, host)
	}
	c.cfg.TLS, err = discovery.ServerTLS(c.cfg.Key, hosts, time.Now())
	return err
}

// serve answers devices until ctx ends, and returns what is to be waited for after that.
func (c *Campaign) serve(ctx context.Context, l net.Listener, handler http.Handler, secure bool) (wait func()) {
	if !secure {
		return serveHTTP(ctx, c.cfg.Log, l, handler, nil)
	}
	return serveHTTP(ctx, c.cfg.Log, l, handler, c.cfg.TLS.Clone())
}

// serveHTTP answers until ctx ends, by TLS if it has a config, and returns what is to be waited for after that.
func serveHTTP(ctx context.Context, log *slog.Logger, l net.Listener, handler http.Handler, secure *tls.Config) (wait func()) {
	server := discovery.NewServer(handler, secure)
	server.BaseContext = func(net.Listener) context.Context { return ctx } // ends polls that wait
	server.ErrorLog = stdlog.New(logWriter{log}, "", 0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var err error
		if l = netutil.LimitListener(l, maxConnections); secure != nil {
			err = server.ServeTLS(l, "", "")
		} else {
			err = server.Serve(l)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			log.Error("the HTTP server stopped", "err", err)
		}
	}()
	return func() {
		last, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if server.Shutdown(last) != nil {
			server.Close()
		}
		<-done
	}
}

// A logWriter takes what net/http says about single connections, which is of interest when looking for a fault only.
type logWriter struct{ log *slog.Logger }

func (w logWriter) Write(b []byte) (int, error) {
	w.log.Debug(strings.TrimSpace(string(b)))
	return len(b), nil
}
