package upgrade

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/session"
)

// ErrNotRunning is returned by methods of a [Campaign] whose Run has ended, and wrapped by those of a [Control] whose
// campaign no process runs.
var ErrNotRunning = errors.New("the campaign is not running")

// How a campaign commits.
const (
	CommitAsk  = "ask"  // a person approves, by [Campaign.Approve], once the policy is met
	CommitAuto = "auto" // at once when the policy is met
)

// A CampaignConfig says what a campaign is. The first group of fields is its settings: they are frozen in the state
// directory when the campaign is new. When it is continued, each that is given has to be as it was, and each that is
// zero is taken from there. Only where the server is may change: Interface, Source, Listen and Advertise.
type CampaignConfig struct {
	Manifest []byte   // the signed release, as in fw.manifest; required
	Images   []string // paths of its images: found by the image's name, else in the order of the manifest; required without Open

	// Who has to be ready: a list, or else the first so many devices that show themselves. Just one of both is required.
	// Expect implies AllowUnsigned.
	Targets []commit.Target
	Expect  int

	Quorum        int           // percentage of the targets that has to be READY. If zero, 100
	SiteQuorum    int           // percentage that has to be READY at each site. If zero, it is not asked
	Must          []string      // devices that have to be READY whatever the quorum says
	ReadyTimeout  time.Duration // votes end so long after the start. If zero, 1 h
	Commit        string        // CommitAsk or CommitAuto. If empty, CommitAsk
	MaxFailures   int           // so many failed activations put the brake on. If zero, none do
	AllowUnsigned bool          // targets without a key vote unsigned

	// Waves are the parts of the targets that are decided one after the other, in place of the fields from Quorum to Commit.
	// If empty, all targets are one wave.
	Waves []Wave

	NotBefore time.Time     // no activation before. If zero: the decision, or what the manifest asks for
	Window    time.Duration // none later than so long after that. If zero: no end but the manifest's
	Spread    time.Duration // devices spread their activation over this. If zero, what the manifest asks for
	Hold      time.Duration // how long past the end of votes an undecided stage is kept. If zero, 7 days

	Group         netip.AddrPort // where the images are sent: a multicast group, or a single host; required
	RepairGroup   netip.AddrPort // where repairs are sent, which devices listen to only while they lack something. If zero, to Group
	Interface     string         // name or address of the interface to send from. If empty, the routing table decides
	Source        netip.Addr     // our address, for source-specific multicast. If zero, any-source
	TTL           int            // see [github.com/multicast-upgrade/tool/norm/udp.Config]: zero is 1, negative is 0
	Rate          float64        // bits per second. If zero, congestion control finds the rate (NORM-CC)
	AutoRate      bool           // says that it does: a campaign that is continued is refused if it has a fixed Rate
	StartRate     float64        // what it begins with, in bits per second. If zero, 1 Mbit/s; see [norm.RateControl]
	MinRate       float64        // what it does not go below. If zero, a segment a second
	MaxRate       float64        // what it does not exceed. If zero, no limit
	ECN           bool           // marks what is sent as ECT(0) (RFC 3168), where congestion control finds the rate
	Burst         int            // bytes sent at once. If zero, what Rate gives in 2 ms
	SegmentSize   int            // bytes of an image in one datagram. If zero, 1400, less what Auth adds
	FEC           fec.Params     // the code; SegmentSize is filled in. If ID and MaxBlockLen are zero, [fec.Default]
	AutoParity    int            // parity symbols sent behind each block unasked. If zero, what blocks turn out to need; if negative, none
	GRTT          time.Duration  // first estimate of the greatest round trip time. If zero, 0.5 s
	BackoffFactor int            // K_sender. If zero, 4 for a multicast group; if negative, none
	GroupSize     int            // how many devices listen, about. If zero, 10,000

	Listen    string // address and port of the rendezvous. If empty, ":8443"
	Advertise string // its URL, as devices know it. If empty, made from Listen; required if that names no host

	// SAP has the campaign announced by SAP (RFC 2974) as long as it runs, and said to be over when it ends.
	SAP bool

	// SegmentHashes has a list of truncated hashes of all segments sent before everything else, 0.3 % of the images, by which
	// devices drop forged segments at once. Agents that do not know of it refuse such a campaign.
	SegmentHashes bool

	// Auth says whether packets are authenticated by a group key of the campaign (RFC 6584): AuthOn, AuthOff, or empty for
	// on if all Targets have public keys. Devices are given the key at the rendezvous, when they prove theirs.
	Auth string

	// FileKeys open the images of a sealed release, see package seal: required with one. SealTo are the groups of devices
	// that are given them, in the session description; SealDevices is whether each target is, at the rendezvous, that proves
	// its key. Required is either or both.
	FileKeys    []manifest.FileKey
	SealTo      []manifest.Recipient
	SealDevices bool

	// What follows is of one process, not of the campaign.

	Key   *manifest.PrivateKey // of role server; required
	Roots *manifest.RootChain  // root documents that devices are offered; nil: none. The newest has to name Key
	State string               // the state directory. If empty, upgrade-CAMPAIGN in the current one
	FS    disk.FS              // the state directory, in place of State
	Store State                // keeps the campaign, in place of a directory; Close closes it. Then no Control reaches the campaign
	ID    commit.CampaignID    // of the campaign. If zero, one is drawn for a new campaign
	TLS   *tls.Config          // if nil, a TLS key is certified with Key; none if Listen is a loopback address

	// Shared is a rendezvous that the campaign has in common with others, in place of Listen, Advertise and TLS. No Control
	// reaches such a campaign: it is in the hands of who made it.
	Shared *Shared

	// Lead is how long before sending the campaign is announced, so that devices start together. If zero, 2 s.
	Lead time.Duration
	// Linger is how long the campaign stays when all that is certain is done: after ABORT for devices to hear it, after
	// COMMIT for those that have not voted, from when the last of them showed progress. If zero, 10 s after ABORT and a
	// minute after COMMIT; if negative, none.
	Linger time.Duration
	// OutcomeTimeout is how long devices that are READY have to tell what became of a COMMIT, from when they may activate.
	// A campaign on hold waits without end. If zero, 15 min.
	OutcomeTimeout time.Duration

	// Restored says that the state directory is a copy, which may be older than what this server has signed. From then on
	// the campaign is decided only by what devices show.
	Restored bool

	Open  func(image string) (Content, error)                 // opens an image by its name, in place of Images
	Trace session.Tracer                                      // told of the datagrams and events of the session. May be nil
	Conn  func() (session.Conn, error)                        // opens the socket. If nil, udp.Open
	Bind  func(network, address string) (net.Listener, error) // opens listeners. If nil, net.Listen
	// SAPConn opens the socket to announce on, and says which address that is. If nil, UDP.
	SAPConn func() (discovery.PacketConn, netip.Addr, error)
	Event   func(Event) // is told what happens, by one goroutine. If nil, nobody is
	// Reported is given what is known of a device whenever that device says how far it is, by the goroutine that calls Event;
	// Reports is what an earlier process was given last, of each. They are for people to look at. May be nil.
	Reported func(discovery.Status)
	Reports  []discovery.Status
	Log      *slog.Logger // is told what an operator of the server should know. If nil, nobody is
	random   func([]byte) // fills its argument. If nil, crypto/rand
}

// A Campaign brings one release to its targets: rendezvous, announcement, transfer, votes, decision, outcomes. Whatever
// happens to the process, the campaign continues from its state directory and ends as it would have without.
type Campaign struct {
	cfg     CampaignConfig
	state   *campaignState
	frozen  frozen // what the state says for good
	release *release

	listener net.Listener
	control  net.Listener
	conn     session.Conn // nil once the session has it
	sap      sapAnnouncer
	publish  []func(discovery.Notice) // to the devices of each wave
	clock    *SignedClock

	calls chan func(now time.Time) // work for the loop
	mail  chan delivery            // votes and reports, taken in batches
	done  chan struct{}            // closed when Run has returned
	once  sync.Once

	// Owned by Run; nothing else touches these.
	coordinator *commit.Coordinator
	announced   *announcement // nil before the session description is signed
	sender      *transmission // nil before that, too
	progress    map[string]progress
	strangers   map[string]bool       // who was turned away, as far as it was told
	keyRequests map[string][][16]byte // the last ones for the group key that were answered, by target
	rate        float64               // what SetRate said; 0: nothing
	targetsHave targetsHave
	endgame
}

// OpenCampaign checks everything that can be checked before anything is sent, and makes a new campaign in the state
// directory, or continues the one that is there. Its errors are one line that a user can act on.
//
// The campaign holds the directory's lock, a socket and a port until Run returns, or Close.
func OpenCampaign(cfg CampaignConfig) (*Campaign, error) {
	c := &Campaign{
		cfg:         cfg.resolve(),
		clock:       NewSignedClock(cfg.Key),
		calls:       make(chan func(time.Time)),
		mail:        make(chan delivery),
		done:        make(chan struct{}),
		progress:    map[string]progress{},
		strangers:   map[string]bool{},
		keyRequests: map[string][][16]byte{},
	}
	if err := c.open(time.Now()); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Campaign) open(now time.Time) error {
	if c.cfg.Key == nil || c.cfg.Key.Role() != manifest.RoleServer {
		return errors.New("a campaign needs a server key")
	}
	if err := c.checkRoots(now); err != nil {
		return err
	}
	given, err := c.cfg.settings()
	if err != nil {
		return err
	}
	var id commit.CampaignID
	c.cfg.random(id[:])
	id = cmp.Or(c.cfg.ID, id)
	if err := c.openState(id); err != nil {
		return err
	}
	if c.frozen, err = c.state.load(); err != nil {
		return err
	}
	switch {
	case c.state.exists:
		c.frozen.move(c.state.Place, given)
		err = c.frozen.admit(given, c.cfg.ID, c.cfg.Key.Public(), c.state.String())
	case c.cfg.Restored:
		err = fmt.Errorf("--restored: there is no campaign in %s", c.state)
	default:
		c.frozen, err = newFrozen(c.cfg, given, id, now)
	}
	if err != nil {
		return err
	}
	if c.release, err = openRelease(c.frozen, c.cfg.Open); err != nil {
		return err
	}
	if !c.state.exists {
		if err := c.release.checkNew(now, c.cfg.Roots); err != nil {
			return err
		}
		if err := c.frozen.wrapKeys(c.cfg, c.release.manifest); err != nil {
			return err
		}
	}
	if err := c.listen(); err != nil {
		return err
	}
	if err := c.openConn(); err != nil {
		return err
	}
	if err := c.openSAP(); err != nil {
		return err
	}
	if c.state.exists {
		if err := c.openCoordinator(); err != nil {
			return err
		}
		c.picture(c.cfg.Reports)
		if c.cfg.Restored {
			return c.coordinator.MarkRestored()
		}
		return nil
	}
	approvers, err := c.approvers()
	if err != nil {
		return err
	}
	plan, err := c.frozen.plan(c.cfg.Targets, c.release.manifest, approvers, now)
	if err != nil {
		return err
	}
	// The plan is durable before the campaign exists, and that before anything is announced. A crash in between leaves
	// a log that nobody has been promised anything from.
	if err := c.state.DiscardLog(); err != nil {
		return err
	}
	if err := c.openCoordinator(); err != nil {
		return err
	}
	if err := c.coordinator.Start(plan); err != nil {
		return err
	}
	return c.state.create(c.frozen)
}

func (c *Campaign) openState(id commit.CampaignID) error {
	state := c.cfg.Store
	if state == nil {
		dir, err := openStateDir(c.cfg, id)
		if err != nil {
			return err
		}
		state = dir
	}
	c.state = &campaignState{State: state}
	return nil
}

func (c *Campaign) openCoordinator() (err error) {
	c.coordinator, err = commit.OpenCoordinator(commit.CoordinatorConfig{
		Key: c.cfg.Key, Public: c.cfg.Key.Public(), Open: c.state.OpenLog,
	})
	if err != nil {
		return fmt.Errorf("the log in %s: %w", c.state, err)
	}
	if p, started := c.coordinator.Plan(); c.state.exists && (!started || p.Campaign != c.frozen.Campaign) {
		return fmt.Errorf("the log in %s is not of this campaign: what it has promised is lost; start a new one with another --state", c.state)
	}
	return nil
}

// ID returns the campaign's id.
func (c *Campaign) ID() commit.CampaignID { return c.frozen.Campaign }

// URL returns the rendezvous, as devices know it.
func (c *Campaign) URL() string { return c.frozen.URL }

// Dir returns the path of the state directory, or the name of what is in its place.
func (c *Campaign) Dir() string { return c.state.String() }

// Describe returns what a person wants to see at the start, in one line.
func (c *Campaign) Describe() string {
	s := c.frozen.Settings
	rate := fmt.Sprintf("%g Mbit/s", s.Rate/1e6)
	if s.AutoRate {
		rate = "rate by congestion control"
	}
	return fmt.Sprintf("campaign %s: release %s to group %s, interface %s, TTL %d, %s; rendezvous %s; state %s", c.frozen.Campaign,
		c.release.manifest.Version, s.Group, cmp.Or(s.Interface, "by the routing table"), max(0, cmp.Or(s.TTL, 1)), rate, c.frozen.URL, c.state)
}

// Manifest returns the release.
func (c *Campaign) Manifest() *manifest.Manifest { return c.release.manifest }

// Approve is a person's agreement to COMMIT the wave that is open. The error is [commit.ErrNotReady] while its policy is not
// met.
func (c *Campaign) Approve(ctx context.Context) error {
	return c.act(ctx, func(now time.Time) error { return c.coordinator.Approve(now, c.openWave()) })
}

// ApproveWave is Approve for one wave, if another may be open by now.
func (c *Campaign) ApproveWave(ctx context.Context, wave uint32) error {
	return c.act(ctx, func(now time.Time) error { return c.coordinator.Approve(now, wave) })
}

// Abort is a person's decision to ABORT the wave that is open and those behind it. The error is [commit.ErrDecided] when it
// comes too late; see Hold.
func (c *Campaign) Abort(ctx context.Context) error {
	return c.act(ctx, func(now time.Time) error { return c.coordinator.Abort(now, c.openWave()) })
}

// openWave returns the wave that is to be decided next, or the last one.
func (c *Campaign) openWave() uint32 {
	if wave, open := c.coordinator.Open(); open {
		return wave
	}
	plan, _ := c.coordinator.Plan()
	return uint32(len(plan.Waves) - 1)
}

// Pause stops all that can be stopped: nothing is sent or decided, deadlines stand still, and devices hold as with Hold.
func (c *Campaign) Pause(ctx context.Context) error {
	return c.act(ctx, func(now time.Time) error { return c.coordinator.Pause(now) })
}

// Hold stops devices that have not begun to activate, and the waves that have not begun.
func (c *Campaign) Hold(ctx context.Context) error {
	return c.act(ctx, func(now time.Time) error { return c.coordinator.Hold(now) })
}

// Resume lets all go on; see [commit.Coordinator.Resume].
func (c *Campaign) Resume(ctx context.Context) error {
	return c.act(ctx, func(now time.Time) error { return c.coordinator.Resume(now) })
}

// Status returns where the campaign is.
func (c *Campaign) Status(ctx context.Context) (s CampaignStatus, err error) {
	err = c.act(ctx, func(time.Time) error { s = c.status(); return nil })
	return s, err
}

// Close lets go of what OpenCampaign took, for a campaign that is not run. After Run it does nothing.
func (c *Campaign) Close() error {
	c.once.Do(func() {
		close(c.done)
		if c.listener != nil {
			c.listener.Close()
		}
		if c.control != nil {
			c.control.Close()
		}
		if c.conn != nil {
			c.conn.Close()
		}
		c.sap.close()
		if c.release != nil {
			c.release.close()
		}
		if c.state != nil {
			c.state.Close()
		}
	})
	return nil
}
