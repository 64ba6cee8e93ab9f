package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/doctor"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A Config says what a Server is.
type Config struct {
	Store *store.Store         // required; the caller closes it, after Run
	Key   *manifest.PrivateKey // of role server; required
	Trust manifest.Keys        // the release keys that uploads are checked with; required without Roots
	Roots *manifest.RootChain  // root documents that devices are offered, whose newest names Key and, in place of Trust, the release keys; nil: none
	URL   string               // of the rendezvous, as devices know it; required
	Name  string               // of this server among those on the store, as people see it. If empty, the host's name
	// PeerURL is where the other servers on the store reach what PeerHandler serves at /peer/. If empty, what they are asked
	// of campaigns that this server leads is refused there.
	PeerURL string

	// Groups are what campaigns are given that do not name one, and then those of Pool with Port: no two campaigns that are
	// open have the same.
	Groups []netip.AddrPort
	Pool   *discovery.Pool // nil: there is none
	Port   uint16
	// Interface and TTL are for campaigns that do not name theirs; see [upgrade.CampaignConfig].
	Interface string
	TTL       int
	// Rate is what all campaigns share, and InterfaceRate what those on one interface do, in bits per second. If Rate is
	// zero, 10 Mbit/s.
	Rate          float64
	InterfaceRate map[string]float64

	// Lease is how long a campaign stays without its leader before another server takes over. If zero, 15 s.
	Lease time.Duration
	// MaxPolls bounds the long polls that wait at once. If zero, 120,000.
	MaxPolls int
	// MaxPending bounds the devices in the registry whose key nobody has approved. If zero, 10,000.
	MaxPending int

	Log                          *slog.Logger                                                       // if nil, nobody is told
	Conn                         func(c store.Campaign, group netip.AddrPort) (session.Conn, error) // opens the socket of a campaign. If nil, UDP
	Responder                    func(doctor.ResponderConfig) (Responder, error)                    // answers devices that examine their network. If nil, [doctor.OpenResponder]
	Peers                        http.RoundTripper                                                  // to other servers. If nil, those are known by the server key
	Lead, Linger, OutcomeTimeout time.Duration                                                      // as in [upgrade.CampaignConfig]
}

func (cfg Config) resolve() (Config, error) {
	switch {
	case cfg.Store == nil:
		return cfg, errors.New("fleet: a server needs a store")
	case cfg.Key == nil || cfg.Key.Role() != manifest.RoleServer:
		return cfg, errors.New("fleet: a server needs a server key")
	case cfg.Roots != nil && len(cfg.Trust.Keys) > 0:
		return cfg, errors.New("fleet: root documents name the release keys: trust none beside them")
	case cfg.Roots == nil && (len(cfg.Trust.Keys) == 0 || cfg.Trust.Threshold < 1 || cfg.Trust.Threshold > len(cfg.Trust.Keys)):
		return cfg, fmt.Errorf("fleet: %d of %d release keys are to be trusted", cfg.Trust.Threshold, len(cfg.Trust.Keys))
	case cfg.URL == "":
		return cfg, errors.New("fleet: devices have to know the URL of the rendezvous")
	case cfg.Pool != nil && cfg.Port == 0:
		return cfg, errors.New("fleet: a pool of groups needs a port")
	case cfg.Rate < 0 || cfg.Lease < 0 || cfg.MaxPolls < 0 || cfg.MaxPending < 0:
		return cfg, errors.New("fleet: rate, lease and limits cannot be negative")
	}
	if cfg.Roots != nil {
		if err := errors.Join(cfg.Roots.NamesServer(cfg.Key.Public()), cfg.Roots.Newest.CheckExpiry(time.Now())); err != nil {
			return cfg, err
		}
		cfg.Trust = cfg.Roots.Newest.Release
	}
	if cfg.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			return cfg, err
		}
		cfg.Name = host
	}
	if strings.ContainsAny(cfg.Name+cfg.PeerURL, " \t\r\n") {
		return cfg, fmt.Errorf("fleet: the name %.70q and the URL %.70q of a server have no spaces", cfg.Name, cfg.PeerURL)
	}
	cfg.Rate = cmp.Or(cfg.Rate, 10e6)
	cfg.Lease = cmp.Or(cfg.Lease, 15*time.Second)
	cfg.MaxPolls = cmp.Or(cfg.MaxPolls, 120_000)
	cfg.MaxPending = cmp.Or(cfg.MaxPending, 10_000)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return cfg, nil
}

// A Server runs the campaigns of a store.
type Server struct {
	cfg     Config
	store   *store.Store
	owner   store.Owner // of leases
	handler *discovery.Handler
	peers   *peers
	clock   *upgrade.SignedClock
	hub     hub
	history history
	tally   tally
	kicks   chan struct{} // buffered, one: look at the campaigns now
	hellos  chan hello
	done    chan struct{} // closed when Run has returned

	evidence chan struct{} // holds one for each that is being written

	mu       sync.Mutex // guards all below
	running  bool
	runs     context.Context // of Run
	work     *sync.WaitGroup // what Run waits for; while it runs there is some
	leads    map[commit.CampaignID]*lead
	follows  map[commit.CampaignID]*follow
	byDevice map[string][]*place // the newest last
	waits    map[commit.CampaignID]*wait
	trouble  map[commit.CampaignID]failure
	past     past
	twins    map[string][2]instance // the latest two agents of each device that said hello
	pending  int                    // devices whose key nobody has approved, about

	// Owned by Run.
	audited      int64                         // the event of the audit trail that was looked at last
	examinations map[string]*discovery.Posting // by which devices are asked, by id
}

// Open checks the Config. Nothing is done before Run.
func Open(ctx context.Context, cfg Config) (*Server, error) {
	cfg, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, store: cfg.Store, owner: store.NewOwner(cfg.Name, cfg.PeerURL), clock: upgrade.NewSignedClock(cfg.Key),
		kicks: make(chan struct{}, 1), hellos: make(chan hello), done: make(chan struct{}), evidence: make(chan struct{}, maxEvidence),
		leads: map[commit.CampaignID]*lead{}, follows: map[commit.CampaignID]*follow{}, byDevice: map[string][]*place{}, waits: map[commit.CampaignID]*wait{},
		trouble: map[commit.CampaignID]failure{}, twins: map[string][2]instance{},
		examinations: map[string]*discovery.Posting{},
	}
	s.handler = discovery.NewHandler(backend{s, false})
	s.handler.MaxWaiters = cfg.MaxPolls
	if cfg.Roots != nil {
		s.handler.Roots = cfg.Roots.Signed
	}
	if s.peers, err = newPeers(cfg); err != nil {
		return nil, err
	}
	if s.audited, err = s.store.LastEvent(ctx); err != nil {
		return nil, err
	}
	return s, s.countPending(ctx)
}

// Handler returns the rendezvous: what devices speak to, at the paths below /v1/. What comes before Run has looked at the
// campaigns, or after it, is answered with 503 and a time to come back.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		running := s.running
		s.mu.Unlock()
		if !running {
			discovery.SendAway(w, s.handler.Waiting())
			return
		}
		s.handler.ServeHTTP(w, r)
	})
}

// Store returns the store.
func (s *Server) Store() *store.Store { return s.store }

// Online reports whether a device waits at this server for news.
func (s *Server) Online(device string) bool { return s.handler.Waits(device) }

// lookInterval is how often a server looks for campaigns that have to be led.
const lookInterval = time.Second

// Run leads campaigns until ctx ends, and then lets go of them, so that another server, or the next run of this one, goes on
// at once. It returns when everything is in the store. A Server runs once.
func (s *Server) Run(ctx context.Context) error {
	var work sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		s.mu.Lock()
		s.running = false
		s.mu.Unlock()
		s.handler.Close()
		cancel()
		work.Wait()
		s.peers.close()
		close(s.done)
	}()
	work.Go(func() { s.register(ctx) })
	work.Go(func() { s.keepHistory(ctx) })
	if err := s.look(ctx, &work); err != nil {
		return err
	}
	s.mu.Lock()
	s.running, s.runs, s.work = true, ctx, &work
	s.mu.Unlock()
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.kicks:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := s.look(ctx, &work); err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("the campaigns cannot be read", "err", err)
		}
	}
}

// Look has Run look at the store at once, as when another server has changed it.
func (s *Server) Look() {
	select {
	case s.kicks <- struct{}{}:
	default:
	}
}

func (s *Server) by(actor string) store.By { return store.By{Actor: actor, At: time.Now().UTC()} }
