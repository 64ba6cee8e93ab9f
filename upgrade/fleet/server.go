package fleet

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/upgrade"
)

// A Config says what a Server is.
type Config struct {
	Key   *manifest.PrivateKey // of role server; required
	Trust manifest.Keys        // the release keys that uploads are checked with; required
	URL   string               // of the rendezvous, as devices know it; required
	Name  string               // of this server among those on one store, as people see it. If empty, the host's name

	// Groups are what campaigns are given that do not name one: no two that run have the same.
	Groups []netip.AddrPort
	// Interface and TTL are for campaigns that do not name theirs.
	Interface string
	TTL       int
	// Rate is what all campaigns share, and InterfaceRate what those on one interface do, in bits per second. If Rate is
	// zero, 10 Mbit/s.
	Rate          float64
	InterfaceRate map[string]float64

	// TwoPersons is whether a campaign is started only after another person than its creator approved it.
	TwoPersons bool

	// Lease is how long a campaign stays without its leader before another server takes over. If zero, 15 s.
	Lease time.Duration
	// MaxPolls bounds the long polls that wait at once. If zero, 120,000.
	MaxPolls int

	Log  *slog.Logger                                       // if nil, nobody is told
	Conn func(upgrade.CampaignConfig) (session.Conn, error) // opens sockets. If nil, UDP
}

// A Server runs the campaigns of a store.
type Server struct{ cfg Config }

// Open checks the Config and reads what the store knows. Nothing is done before Run.
func Open(ctx context.Context, cfg Config) (*Server, error) { return &Server{cfg}, errUnready }

// Run leads campaigns until ctx ends, and then lets go of them, so that another server, or the next run of this one, goes on
// at once. It returns when everything is in the store.
func (s *Server) Run(ctx context.Context) error { return errUnready }

// Handler returns the rendezvous: what devices speak to. Requests that come before Run, or after it, are answered with 503.
func (s *Server) Handler() http.Handler { return http.NotFoundHandler() }

var errUnready = errors.ErrUnsupported

// AddRelease takes a signed manifest whose signatures are those of enough trusted release keys, which has not expired. Its
// images follow.
func (s *Server) AddRelease(ctx context.Context, signed []byte, actor string) (*manifest.Manifest, error) {
	return nil, errUnready
}

// AddImage takes an image of a release from r as it comes, without holding it in memory. If it is not the one of the
// manifest, to the last leaf, nothing of it stays.
func (s *Server) AddImage(ctx context.Context, release manifest.Digest, name string, r io.Reader, actor string) error {
	return errUnready
}

// RemoveRelease removes a release that no campaign has.
func (s *Server) RemoveRelease(ctx context.Context, release manifest.Digest, actor string) error {
	return errUnready
}

// Preview returns what a Spec would select if it were started now.
func (s *Server) Preview(ctx context.Context, spec Spec) (Preview, error) {
	return Preview{}, errUnready
}

// Create makes a draft.
func (s *Server) Create(ctx context.Context, spec Spec, actor string) (Campaign, error) {
	return Campaign{}, errUnready
}

// Change replaces the Spec of a draft that has this revision. An approval it had is void.
func (s *Server) Change(ctx context.Context, id commit.CampaignID, revision int64, spec Spec, actor string) (Campaign, error) {
	return Campaign{}, errUnready
}

// Approve is the agreement of a second person, who is not the creator ([ErrSamePerson]), to a draft that has this revision.
func (s *Server) Approve(ctx context.Context, id commit.CampaignID, revision int64, actor string) (Campaign, error) {
	return Campaign{}, errUnready
}

// Start freezes the targets of a draft, and has it run when its Schedule says so. It is refused when a target is one of
// another campaign ([*OverlapError]), when there is none ([ErrNoTargets]), when images are missing, when no group is free
// ([ErrNoGroup]), and, with [Config].TwoPersons, when nobody has approved it ([ErrNotApproved]).
func (s *Server) Start(ctx context.Context, id commit.CampaignID, revision int64, actor string) (Campaign, error) {
	return Campaign{}, errUnready
}

// Discard removes a draft, or closes a campaign that is scheduled and has not been announced.
func (s *Server) Discard(ctx context.Context, id commit.CampaignID, revision int64, actor string) error {
	return errUnready
}

// Commit is a person's agreement to COMMIT. The error wraps [commit.ErrNotReady] while the policy is not met, and
// [commit.ErrDecided] when somebody was quicker.
func (s *Server) Commit(ctx context.Context, id commit.CampaignID, actor string) error {
	return errUnready
}

// Abort is a person's decision to ABORT. The error wraps [commit.ErrDecided] when it comes too late; see Hold.
func (s *Server) Abort(ctx context.Context, id commit.CampaignID, actor string) error {
	return errUnready
}

// Hold stops devices that have not begun to activate.
func (s *Server) Hold(ctx context.Context, id commit.CampaignID, actor string) error {
	return errUnready
}

// Resume lets them go on.
func (s *Server) Resume(ctx context.Context, id commit.CampaignID, actor string) error {
	return errUnready
}

// Release lets a campaign go on that waits because the store was restored from a backup. It decides nothing any more; it
// adopts what devices show.
func (s *Server) Release(ctx context.Context, id commit.CampaignID, actor string) error {
	return errUnready
}

// What a Server refuses, beside what the store does; errors wrap these.
var (
	ErrSamePerson  = errors.New("fleet: who created a campaign cannot approve it")
	ErrNotApproved = errors.New("fleet: nobody has approved the campaign")
	ErrNoTargets   = errors.New("fleet: no device matches")
	ErrNoGroup     = errors.New("fleet: every multicast group is in use")
	ErrRunning     = errors.New("fleet: the campaign has been announced; abort it")
)

// Campaign returns a campaign.
func (s *Server) Campaign(ctx context.Context, id commit.CampaignID) (Campaign, error) {
	return Campaign{}, errUnready
}

// Campaigns returns up to limit campaigns in the order of their ids, those after the id named, of these states or of any.
func (s *Server) Campaigns(ctx context.Context, states []State, after string, limit int) (page []Campaign, next string, err error) {
	return nil, "", errUnready
}

// Snapshot returns where a campaign is.
func (s *Server) Snapshot(ctx context.Context, id commit.CampaignID) (Snapshot, error) {
	return Snapshot{}, errUnready
}

// CampaignDevices returns up to limit targets of a campaign in the order of their names, those after the one named, with
// this cause or with any, and those that are where they should be only if cause is empty.
func (s *Server) CampaignDevices(ctx context.Context, id commit.CampaignID, cause Cause, after string, limit int) (page []Laggard, next string, err error) {
	return nil, "", errUnready
}

// Subscribe returns a Subscription, which is to be closed.
func (s *Server) Subscribe() *Subscription { return &Subscription{} }

// ApproveDevice says that the key a device has shown is its own. Its fingerprint was compared by a person.
func (s *Server) ApproveDevice(ctx context.Context, device string, revision int64, actor string) error {
	return errUnready
}

// RevokeDevice says that the key of a device never counts again.
func (s *Server) RevokeDevice(ctx context.Context, device string, revision int64, actor string) error {
	return errUnready
}

// PlaceDevice sets the site and tags of a device.
func (s *Server) PlaceDevice(ctx context.Context, device string, revision int64, site string, tags []string, actor string) error {
	return errUnready
}

// ReplaceDeviceKey forgets the key of a device, whose storage was renewed, so that it can show another.
func (s *Server) ReplaceDeviceKey(ctx context.Context, device string, revision int64, actor string) error {
	return errUnready
}

// RemoveDevice forgets a device that is in no open campaign.
func (s *Server) RemoveDevice(ctx context.Context, device string, revision int64, actor string) error {
	return errUnready
}
