package upgrade

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/commit/filestore"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/doctor"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/udp"
)

// An AgentConfig says what an Agent is and whom it trusts.
type AgentConfig struct {
	// Server is where the rendezvous is, such as "https://updates.example.net:8443". Plain http is for loopback only.
	Server string
	// Transport carries HTTP. If nil, one is made that trusts no certificate but those of the trusted server keys. One that has a
	// method Drop, as [discovery.Transport] has, is told when the device's address has changed.
	Transport http.RoundTripper
	// Certificates are shown by it to a server that wants to see one.
	Certificates []tls.Certificate

	// Root is the signed root document that names the keys to trust, until the device has seen newer ones; one that is stored
	// in Dir and newer takes its place. Or else, both:
	Root        []byte
	Trust       manifest.Keys      // the release keys
	TrustServer manifest.PublicKey // the server key: announces and decides, never says what may run

	Product, Hardware, Device string               // names
	Key                       *manifest.PrivateKey // the device key; nil: what the device says is unsigned

	// MakeKey is whether an agent without a Key uses the one in its directory, and makes one there if there is none. It counts
	// once a person has approved its fingerprint at the server, or with an EnrolToken.
	MakeKey    bool
	EnrolToken string // one-time token, secret, with which the server takes the key for the device's; empty: none

	Dir string  // where everything is kept; made if it is not there
	FS  disk.FS // takes the place of Dir

	// Slots are where one image of a release goes in place of the directory. An activate hook is required with them. May
	// be nil.
	Slots *Slots

	// Seeds are paths of files, block devices, or directories with files of the images' names, that may have parts of the next
	// image, as DIR/current and the slot that runs may. They are only read, and need not be trusted.
	Seeds []string

	// Tail is the URL of a gateway of the site, such as "http://10.0.0.2:8080", where missing bytes are asked for before the
	// server is. What it gives is proved as everything is, so plain http will do. If empty, there is none.
	Tail          string
	TailTransport http.RoundTripper // carries HTTP to it; if nil, one without a proxy

	// Unsealer opens images that are sealed, which is to say encrypted; if nil, such releases are refused. SealKeys are those
	// of the groups that this device belongs to. A device with none may be given what it needs by a server that knows its Key.
	Unsealer Unsealer
	SealKeys []*manifest.Identity

	Interface string // network interface by name or address; empty: the routing table decides
	// UnicastFeedback sends requests to the sender itself, as source-specific groups have it anyhow. It passes routers that do
	// not route what devices multicast, and TTL 1, with which that is sent.
	UnicastFeedback bool
	Hooks           Hooks   // nil: none
	Boot            string  // id of this boot of the system; if empty, what the system says
	Windows         Windows // when the device may activate what is committed; none: at any time
	Once            bool    // end after one campaign

	// SAP has the agent hear campaigns announced by SAP (RFC 2974), which make it ask the server. While nothing is under way
	// it asks rarely without, in place of waiting at the server all the time.
	SAP bool
	// GroupSize is how many devices there are, about: they spread their questions after an announcement over a millisecond
	// for each. If zero, 10,000.
	GroupSize int

	// Silence is how long nothing may be heard of a sender that should be sending before the rest is fetched by HTTP. If
	// zero, 30 s.
	Silence time.Duration

	Log   *slog.Logger // if nil, nobody is told
	Event func(Event)  // called for each event, one at a time; it must not block. May be nil

	// Trace is told of the datagrams and events of every session. May be nil.
	Trace session.Tracer
	// Conn opens the sockets of a session. If nil, UDP.
	Conn func(*manifest.Session) (session.Conn, error)
	// Examine finds out how multicast reaches the device, when the server asks. If nil, [doctor.Examine].
	Examine func(context.Context, doctor.Config) (*doctor.Report, error)
	// SAPConns opens a socket in each group where sessions are announced. If nil, UDP.
	SAPConns func() ([]discovery.PacketConn, error)

	// attachment says how the device is attached to the network of a session, for sockets by udp; nil: nobody knows.
	attachment func(*manifest.Session) string
}

// resolve returns the config with its defaults filled in.
func (c AgentConfig) resolve() (AgentConfig, error) {
	for _, name := range []struct{ field, value string }{{"product", c.Product}, {"hardware", c.Hardware}, {"device", c.Device}} {
		if !manifest.ValidName(name.value) {
			return c, fmt.Errorf("%s %.70q: want 1 to 64 of A-Z a-z 0-9 . _ + -, a letter or digit first", name.field, name.value)
		}
	}
	switch given := len(c.Trust.Keys) > 0 || !c.TrustServer.IsZero(); {
	case c.Root != nil && given:
		return c, errors.New("a root document names the keys to trust: give none beside it")
	case c.Root == nil && c.TrustServer.Role() != manifest.RoleServer:
		return c, fmt.Errorf("trusted server key: %w: want a server key", manifest.ErrKeyRole)
	case c.Root == nil && (len(c.Trust.Keys) == 0 || c.Trust.Threshold < 1 || c.Trust.Threshold > len(c.Trust.Keys)):
		return c, fmt.Errorf("%d of %d release keys are to be trusted", c.Trust.Threshold, len(c.Trust.Keys))
	case c.Key != nil && c.Key.Role() != manifest.RoleDevice:
		return c, fmt.Errorf("device key: %w: want a device key", manifest.ErrKeyRole)
	case c.EnrolToken != "" && c.Key == nil && !c.MakeKey:
		return c, errors.New("an enrolment token is for a device key: give one, or have one made")
	case len(c.SealKeys) > 0 && c.Unsealer == nil:
		return c, errors.New("seal keys are of no use without what opens sealed images")
	case c.GroupSize < 0:
		return c, fmt.Errorf("a group of %d devices", c.GroupSize)
	case c.Dir == "" && c.FS == nil:
		return c, errors.New("a directory is required")
	}
	if c.Hooks == nil {
		c.Hooks = &CommandHooks{}
	}
	if !c.Hooks.Has(StepActivate) && (c.Hooks.Has(StepHealth) || c.Hooks.Has(StepRollback)) {
		return c, errors.New("health and rollback hooks need an activate hook: without one there is nothing to go back to")
	}
	if c.Slots != nil {
		if !c.Hooks.Has(StepActivate) {
			return c, errors.New("slots need an activate hook, which tells the boot loader")
		}
		slots := *c.Slots
		if err := slots.resolve(); err != nil {
			return c, err
		}
		c.Slots = &slots
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Boot == "" {
		id, err := bootID()
		if err != nil || id == "" {
			return c, fmt.Errorf("the system does not tell its boot id: %w", cmp.Or(err, errors.ErrUnsupported))
		}
		c.Boot = id
	}
	if c.TailTransport == nil {
		c.TailTransport = discovery.NewTransport(nil)
	}
	c.Silence = cmp.Or(c.Silence, 30*time.Second)
	if c.Conn == nil {
		socket := func(s *manifest.Session) udp.Config {
			return udp.Config{Group: s.Group, RepairGroup: s.Repairs, Interface: c.Interface, Source: s.Source}
		}
		c.Conn = func(s *manifest.Session) (session.Conn, error) { return udp.Open(socket(s)) }
		c.attachment = func(s *manifest.Session) string { return socket(s).Attachment() }
	}
	if c.SAPConns == nil {
		c.SAPConns = func() ([]discovery.PacketConn, error) { return discovery.OpenSAPListeners(c.Interface) }
	}
	return c, nil
}

// newClient returns a client that trusts the certificates of these server keys. It makes the Transport if there is none.
func (c *AgentConfig) newClient(servers func() []manifest.PublicKey) (*discovery.Client, error) {
	if c.Transport == nil {
		u, err := url.Parse(c.Server)
		if err != nil {
			return nil, err
		}
		if u.Scheme == "http" && !isLoopback(u.Hostname()) {
			return nil, fmt.Errorf("server %s: plain http is for loopback only", c.Server)
		}
		secure := discovery.ClientTLSOf(servers, u.Hostname(), func() time.Time { return time.Time{} })
		secure.Certificates = c.Certificates
		c.Transport = discovery.NewTransport(secure)
	}
	client, err := discovery.NewClient(c.Server, c.Transport)
	if err == nil {
		client.Device = c.Device
	}
	return client, err
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() || strings.EqualFold(host, "localhost")
}

// signer is nil, and not an interface of a nil pointer, without a key.
func (c AgentConfig) signer() commit.Signer {
	if c.Key == nil {
		return nil
	}
	return c.Key
}

// buildTime returns when the program's source was committed: it cannot be earlier than that.
func buildTime() time.Time {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return time.Time{}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			t, _ := time.Parse(time.RFC3339, s.Value)
			return t
		}
	}
	return time.Time{}
}

const (
	logName = "commit.log"
	logSize = 1 << 20 // bytes from which on the log is rewritten
)

// A shortLog keeps the log of a participant short: only its last record matters.
type shortLog struct{ *filestore.Log }

func (l shortLog) Append(recs ...[]byte) error {
	if l.Size() > logSize {
		return l.Rewrite(recs[len(recs)-1])
	}
	return l.Log.Append(recs...)
}

func (a *Agent) openLog(replay func(rec []byte) error) (commit.Log, error) {
	l, err := filestore.Open(a.fs, logName, replay)
	if err != nil {
		return nil, err
	}
	if n := l.Torn(); n > 0 {
		a.log.Info("the last write to the log was cut off by a crash", "bytes", n)
	}
	a.logFile = l
	return shortLog{l}, nil
}
