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
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/udp"
)

// maxConnections bounds the connections to the rendezvous of one campaign.
const maxConnections = 32768

// A Shared is a rendezvous that serves many campaigns.
type Shared struct {
	Handler *discovery.Handler        // its [discovery.Backend] passes on to [Campaign.Backend] what is for the campaign
	URL     string                    // as devices know it
	Seats   map[string]discovery.Seat // of the targets; nobody else is told of the campaign
	// Published is given what is announced to the devices of a wave, whenever that changes, after the Handler. It must not
	// wait. May be nil
	Published func(wave uint32, n discovery.Notice)
}

// Backend answers devices for the campaign while it runs.
func (c *Campaign) Backend() discovery.Backend { return backend{c} }

// listen takes the port of the rendezvous; a new campaign gets its address and URL from it.
func (c *Campaign) listen() (err error) {
	if c.cfg.Shared != nil {
		c.frozen.URL = c.cfg.Shared.URL
		return nil
	}
	address := c.frozen.Address
	if address == "" {
		address = c.frozen.Settings.Listen
	}
	if _, _, err = net.SplitHostPort(address); err != nil {
		return fmt.Errorf("--listen %s: want ADDRESS:PORT", address)
	}
	if c.listener, err = c.cfg.Bind("tcp", address); err != nil {
		return fmt.Errorf("--listen %s: %w", address, err)
	}
	if c.frozen.Address == "" {
		c.frozen.Address = c.listener.Addr().String()
		s := c.frozen.Settings
		if c.frozen.URL, err = RendezvousURL(address, c.frozen.Address, s.Advertise, s.Interface, c.cfg.TLS != nil); err != nil {
			return err
		}
	}
	if c.cfg.TLS == nil && !Loopback(c.frozen.Address) {
		c.cfg.TLS, err = RendezvousTLS(c.cfg.Key, c.frozen.URL, address)
	}
	return err
}

// RendezvousURL returns the URL by which devices know a rendezvous that was asked to listen at one address and is bound to
// another: advertise, if it is given; otherwise it is made of the address, or that of an interface if the address is none
// that devices could use. It is https if secure says so, and beyond this host in any case.
func RendezvousURL(listen, bound, advertise, iface string, secure bool) (string, error) {
	if s := advertise; s != "" {
		u, err := url.Parse(s)
		switch {
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.ContainsAny(s, "?#"):
			return "", fmt.Errorf("--advertise %q: want a URL like https://updates.example.net:8443", s)
		case u.Scheme == "http" && !loopbackHost(u.Hostname()):
			return "", fmt.Errorf("--advertise %s: devices beyond this host need https", s)
		}
		return strings.TrimSuffix(s, "/"), nil
	}
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(bound)
	if err != nil {
		return "", err
	}
	scheme := "https"
	if !secure && Loopback(bound) {
		scheme = "http"
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		if host, err = addressOf(iface); err != nil {
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

// Loopback reports whether an address and port can be reached from this host only.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && loopbackHost(host)
}

func loopbackHost(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// RendezvousTLS returns TLS with a key that the server key certifies, for a rendezvous that devices know by its URL and
// that was asked to listen at an address.
func RendezvousTLS(key *manifest.PrivateKey, rendezvous, listen string) (*tls.Config, error) {
	u, err := url.Parse(rendezvous)
	if err != nil {
		return nil, err
	}
	hosts := []string{u.Hostname(), "localhost", "127.0.0.1", "::1"}
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, err
	}
	if ip, err := netip.ParseAddr(host); err == nil && !ip.IsUnspecified() || err != nil && host != "" {
		hosts = append(hosts, host)
	}
	return discovery.ServerTLS(key, hosts, time.Now())
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
