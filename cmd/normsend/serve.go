package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/udp"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/api"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
	"github.com/multicast-upgrade/tool/upgrade/web"
	"github.com/spf13/cobra"
	"golang.org/x/net/netutil"
)

const (
	defaultDB = "sqlite:fleet.db"
	// maxConnections is above fleet's bound of long polls, each of which may have a connection of its own.
	maxConnections = 131072
	// pruneInterval is how often the store is rid of what is over.
	pruneInterval = time.Hour
	// stopTime is how long requests that are under way have when the server ends.
	stopTime = 5 * time.Second
)

func serveCommand(w cli.World) *cobra.Command {
	s := serving{world: w, rate: 10e6}
	c := &cobra.Command{
		Use:   "serve --listen ADDRESS:PORT --key server.key --trust release.pub [flags]",
		Short: "Serve a fleet of devices: REST API, campaigns, rendezvous",
		Long: `serve keeps releases, devices and campaigns in a database, brings the campaigns to the devices, and lets people do
all that by a REST API (at /api/, for normsend campaign, device, release and token, and for programs).

The database is a file (sqlite:FILE), or PostgreSQL, for several servers that stand in for each other: devices and people
may use any of them, which all have the same server key and reach each other at their --peer-url. Beyond this host it
speaks TLS only: with a key that the server key certifies, which devices trust, or with --tls-cert.
All flags can be in a file: --config serve.toml, in a table [serve].`,
		Example: `  normsend serve --listen 192.0.2.1:8443 --key server.key --trust release.pub --interface eth0 --rate-budget 50M
  normsend token create --db sqlite:fleet.db --role admin --name anna --out anna.token     # the first token, on the same host`,
		Args: cli.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return s.run(c) },
	}
	fs := c.Flags()
	fs.StringVar(&s.listen, "listen", ":8443", "`address` and port of everything that is served")
	fs.StringVar(&s.advertise, "advertise", "", "`URL` of the server as devices know it; default: made from --listen and --interface")
	fs.StringVar(&s.db, "db", defaultDB, "database: sqlite:`FILE` or postgres://USER@HOST/DATABASE")
	fs.StringVar(&s.key, "key", "", "server key `file`")
	fs.StringSliceVar(&s.trust, "trust", nil, "public release key `files`: releases that are uploaded are checked with them")
	fs.StringSliceVar(&s.roots, "root", nil, "root document `files` that agents are offered, in place of --trust; see normsend root")
	fs.IntVar(&s.threshold, "trust-threshold", 1, "how many of them have to have signed")
	fs.StringVar(&s.name, "name", "", "of this server among those of one database; default: the host's")
	fs.StringVar(&s.peer, "peer-url", "", "`URL` at which the other servers of one database reach this one; default: made from --listen and --interface")
	fs.Var(&s.rate, "rate-budget", "bit rate that all campaigns share")
	fs.StringVar(&s.pool, "pool", "239.192.0.0/14", "`prefix` of multicast groups for campaigns that do not name theirs")
	fs.Uint16Var(&s.port, "pool-port", 6003, "the `port` of these groups")
	fs.StringVar(&s.ifi, "interface", "", "network `interface` of campaigns that do not name theirs; if empty, the routing table decides")
	fs.IntVar(&s.ttl, "ttl", 1, "how many routers may pass on what they send; 0 stays on this host")
	fs.StringVar(&s.tlsCert, "tls-cert", "", "TLS certificate `file`; default: one certified by the server key")
	fs.StringVar(&s.tlsKey, "tls-key", "", "its key `file`")
	fs.StringVar(&s.clientCA, "client-ca", "", "`file` with authorities: devices have to show a certificate of theirs with the device's name")
	fs.Var(&s.keep, "keep", "remove audit entries, reports of closed campaigns and revoked tokens after so long; default: never")
	c.MarkFlagRequired("key")
	return c
}

// A serving is one run of normsend serve.
type serving struct {
	world                            cli.World
	listen, advertise, db, key, name string
	peer                             string
	pool, ifi                        string
	tlsCert, tlsKey, clientCA        string
	trust, roots                     []string
	threshold, ttl                   int
	port                             uint16
	rate                             cli.BitRate
	keep                             cli.Duration

	log    *slog.Logger
	config fleet.Config
	tls    *tls.Config
	page   *web.Site
}

func (s *serving) run(c *cobra.Command) error {
	ctx := c.Context()
	s.log = cli.NewLog(s.world.Stderr, slog.LevelInfo)
	if err := s.resolve(); err != nil {
		return cli.Usage(err)
	}
	l, err := net.Listen("tcp", s.listen)
	if err != nil {
		return cli.Usagef("--listen %s: %w", s.listen, err)
	}
	defer l.Close()
	if err := s.secure(l.Addr().String()); err != nil {
		return cli.Usage(err)
	}
	db, err := store.Open(ctx, s.db)
	if err != nil {
		return cli.Usage(err)
	}
	defer db.Close()
	release, err := db.Serve(ctx)
	if err != nil {
		return cli.Usage(err)
	}
	defer release()
	s.config.Store = db
	server, err := fleet.Open(ctx, s.config)
	if err != nil {
		return cli.Usage(err)
	}
	https := strings.HasPrefix(s.config.URL, "https:")
	if s.page, err = web.New(web.Config{Fleet: server, Secure: https, Log: s.log}); err != nil {
		return err
	}
	if err := s.hint(ctx, db); err != nil {
		return err
	}
	s.log.Info("serving", "url", s.config.URL, "db", redacted(s.db), "interface", s.ifi, "ttl", s.ttl, "rate", s.rate.String(),
		"pool", s.pool)
	return s.serve(ctx, l, server, s.handler(server))
}

// resolve reads the flags.
func (s *serving) resolve() (err error) {
	cfg := &s.config
	if cfg.Key, err = manifest.LoadPrivateKey(s.key, manifest.RoleServer); err != nil {
		return err
	}
	if cfg.Roots, err = cli.ReadRoots(s.roots); err != nil {
		return err
	}
	if cfg.Trust.Keys, err = cli.LoadPublicKeys(s.trust, manifest.RoleRelease); err != nil {
		return err
	}
	switch cfg.Trust.Threshold = s.threshold; {
	case cfg.Roots != nil && len(s.trust) > 0:
		return errors.New("--root names the release keys: leave --trust out")
	case cfg.Roots == nil && len(s.trust) == 0:
		return errors.New("--root or --trust is required")
	case cfg.Roots == nil && (s.threshold < 1 || s.threshold > len(cfg.Trust.Keys)):
		return fmt.Errorf("--trust-threshold %d: want 1 to %d, as there are so many --trust", s.threshold, len(cfg.Trust.Keys))
	}
	if cfg.Pool, err = poolOf(s.pool, s.port); err != nil {
		return err
	}
	link := linkFlags{ttl: s.ttl}
	if cfg.TTL, err = link.hops(); err != nil {
		return err
	}
	if s.ifi != "" {
		if _, _, err := udp.InterfaceFor(s.ifi); err != nil {
			return fmt.Errorf("--interface: %w", err)
		}
	}
	cfg.Port, cfg.Interface, cfg.Rate, cfg.Name, cfg.Log = s.port, s.ifi, float64(s.rate), s.name, s.log
	if _, _, err := net.SplitHostPort(s.listen); err != nil {
		return fmt.Errorf("--listen %s: want ADDRESS:PORT", s.listen)
	}
	s.tls, err = cli.ServerTLS(s.tlsCert, s.tlsKey)
	return err
}

// poolOf returns the groups of a prefix.
func poolOf(text string, port uint16) (*discovery.Pool, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return nil, fmt.Errorf("--pool %s: want a prefix, such as 239.192.0.0/14", text)
	}
	if port == 0 {
		return nil, errors.New("--pool-port 0: want a port")
	}
	pool, err := discovery.NewPool(prefix, false)
	if err != nil {
		return nil, fmt.Errorf("--pool: %w", err)
	}
	return &pool, nil
}

// secure finds the URL that devices know, and TLS if it is needed.
func (s *serving) secure(bound string) (err error) {
	if s.config.URL, err = upgrade.RendezvousURL(s.listen, bound, s.advertise, s.ifi, s.tls != nil || s.clientCA != ""); err != nil {
		return err
	}
	if s.config.PeerURL, err = s.peerURL(bound); err != nil {
		return err
	}
	if s.tls == nil && (s.clientCA != "" || !upgrade.Loopback(bound)) {
		if s.tls, err = upgrade.RendezvousTLS(s.config.Key, s.config.URL, s.listen); err != nil {
			return err
		}
	}
	if s.clientCA != "" {
		s.tls.ClientAuth = tls.VerifyClientCertIfGiven // people come with tokens
		if s.tls.ClientCAs, err = cli.CertPool("--client-ca", s.clientCA); err != nil {
			return err
		}
	}
	if s.tls != nil {
		return fleet.ServePeers(s.tls, s.config.Key)
	}
	return nil
}

// peerURL returns where other servers reach this one. With SQLite there are none.
func (s *serving) peerURL(bound string) (string, error) {
	if s.peer == "" && strings.HasPrefix(s.db, "sqlite:") {
		return "", nil
	}
	peer, err := upgrade.RendezvousURL(s.listen, bound, s.peer, s.ifi, s.tls != nil || s.clientCA != "")
	if err != nil {
		if s.peer == "" {
			return "", fmt.Errorf("--peer-url is required: --listen %s names no address at which other servers of the database reach this one", s.listen)
		}
		return "", errors.New(strings.ReplaceAll(err.Error(), "--advertise", "--peer-url"))
	}
	return peer, nil
}

// hint tells how to get in when nobody can let others in: in a new database, and in one from before there were admins.
func (s *serving) hint(ctx context.Context, db *store.Store) error {
	has, err := db.HasAdmin(ctx)
	if err == nil && !has {
		fmt.Fprintf(s.world.Stderr, "nobody has a token of role admin, by which others are made; make one on this host:\n  normsend token create --db %s --role admin --name YOU --out you.token\n", redacted(s.db))
	}
	return err
}

// redacted returns the URL of a database without a password.
func redacted(db string) string {
	if u, err := url.Parse(db); err == nil && u.Host != "" {
		return u.Redacted()
	}
	return db
}

// handler returns all that is served at one port.
func (s *serving) handler(server *fleet.Server) http.Handler {
	front := api.New(api.Config{Fleet: server, Key: s.config.Key.Public(), URL: s.config.URL, Version: programVersion(), Log: s.log})
	rendezvous := server.Handler()
	if s.clientCA != "" {
		rendezvous = discovery.RequireCertificate(rendezvous)
	}
	mux := http.NewServeMux()
	mux.Handle("/v1/", rendezvous)
	mux.Handle("/peer/", server.PeerHandler())
	mux.Handle("/api/", front)
	mux.Handle("GET /metrics", front.Metrics())
	mux.Handle("GET /healthz", front.Health())
	mux.Handle("/", s.page)
	return mux
}

// programVersion returns the version of this program, as its build knows it.
func programVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}

// serve answers until ctx ends, and then lets go of the campaigns and ends what is under way.
func (s *serving) serve(ctx context.Context, l net.Listener, server *fleet.Server, handler http.Handler) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	srv := discovery.NewServer(handler, s.tls)
	srv.BaseContext = func(net.Listener) context.Context { return ctx } // ends polls and streams
	srv.ErrorLog = log.New(debugWriter{s.log}, "", 0)
	served := make(chan error, 1)
	go func() {
		l := netutil.LimitListener(l, maxConnections)
		if s.tls != nil {
			served <- srv.ServeTLS(l, "", "")
		} else {
			served <- srv.Serve(l)
		}
		cancel(errors.New("the listener failed"))
	}()
	var beside sync.WaitGroup
	beside.Go(func() { s.prune(ctx, server.Store()) })
	beside.Go(func() { server.Store().Listen(ctx, server.Look) })
	failed := server.Run(ctx)
	cancel(failed)
	last, end := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer end()
	if srv.Shutdown(last) != nil {
		srv.Close()
	}
	beside.Wait()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	if !errors.Is(failed, context.Canceled) {
		return failed
	}
	s.log.Info("ended; campaigns go on when a server is there again")
	return nil
}

// prune removes what is over, now and then.
func (s *serving) prune(ctx context.Context, db *store.Store) {
	tick := time.NewTicker(pruneInterval)
	defer tick.Stop()
	keep := time.Duration(s.keep)
	for {
		if err := db.Prune(ctx, time.Now(), store.Retention{Events: keep, Reports: keep, Tokens: keep}); err != nil && ctx.Err() == nil {
			s.log.Error("what is over cannot be removed from the database", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// A debugWriter takes what net/http says about single connections, which is of interest when looking for a fault only.
type debugWriter struct{ log *slog.Logger }

func (w debugWriter) Write(b []byte) (int, error) {
	w.log.Debug(strings.TrimSpace(string(b)))
	return len(b), nil
}
