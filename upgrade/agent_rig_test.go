package upgrade

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/merkle"
	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/normtest/hub"
	"github.com/multicast-upgrade/tool/norm/session"
)

var (
	testGroup  = netip.MustParseAddrPort("239.255.1.1:6003")
	serverAddr = netip.MustParseAddrPort("10.0.0.1:7000")
	releaseKey = testKey(manifest.RoleRelease, "release")
	serverKey  = testKey(manifest.RoleServer, "server")
)

const testNode = 77

// testKey makes a key that is the same in each run.
func testKey(role manifest.Role, name string) *manifest.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	k, err := manifest.GenerateKey(role, bytes.NewReader(seed[:]))
	if err != nil {
		panic(err)
	}
	return k
}

func testImage(size int, seed uint64) []byte {
	b := make([]byte, size)
	rng := rand.New(rand.NewPCG(seed, 0))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// A testRelease is what a test signs.
type testRelease struct {
	m      manifest.Manifest
	signed []byte
	hashes []byte
	images [][]byte
	keys   []manifest.FileKey // of a sealed one
}

// makeRelease signs images named fw0, fw1, …; change may make it another release than the usual.
func makeRelease(t testing.TB, change func(*manifest.Manifest), images ...[]byte) *testRelease {
	t.Helper()
	now := time.Now().Truncate(time.Second)
	r := &testRelease{images: images, m: manifest.Manifest{
		Product: "router", Hardware: []string{"r1"}, Version: "2.0", Sequence: 5, Epoch: 3, Created: now, Expires: now.AddDate(0, 6, 0)}}
	var leaves [][]merkle.Hash
	for i, b := range images {
		im, hashes, err := manifest.NewImage(fmt.Sprintf("fw%d", i), bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		r.m.Images, leaves = append(r.m.Images, im), append(leaves, hashes)
	}
	if change != nil {
		change(&r.m)
	}
	var err error
	if r.signed, err = r.m.Sign(releaseKey); err != nil {
		t.Fatal(err)
	}
	if r.hashes, err = r.m.HashList(leaves); err != nil {
		t.Fatal(err)
	}
	return r
}

// A server is the other side of agents under test: the real coordinator behind the real handler, and a NORM sender.
type server struct {
	t       testing.TB
	net     *hub.Hub
	handler *discovery.Handler
	key     *manifest.PrivateKey // signs all that the server says
	rel     *testRelease
	sess    manifest.Session
	root    []byte // the newest root document; nil: there is none

	mu       sync.Mutex
	c        *commit.Coordinator
	lost     bool // the campaign is unknown
	down     bool // no answer at all
	refuse   map[string]error
	hellos   []discovery.Hello
	statuses []discovery.Status
	votes    []commit.Vote
	reports  []commit.Report
	fetches  map[uint16]int
	decided  bool
	fileKeys func(discovery.FileKeyRequest) ([]byte, error) // if nil, the server gives none

	segments []byte           // the list of segment hashes; nil: there is none
	tx       *session.Session // nil: silent
	rate     float64          // of tx, in bits per second; 0: 50e6
}

type memoryLog struct{ recs [][]byte }

func (l *memoryLog) Append(recs ...[]byte) error {
	for _, rec := range recs {
		l.recs = append(l.recs, bytes.Clone(rec))
	}
	return nil
}

var campaigns byte

// newServer starts a campaign for the devices.
func newServer(t testing.TB, rel *testRelease, policy commit.Policy, devices ...string) *server {
	t.Helper()
	campaigns++
	now := time.Now().Truncate(time.Second)
	s := &server{t: t, net: new(hub.Hub), key: serverKey, rel: rel, refuse: map[string]error{}, fetches: map[uint16]int{}}
	s.sess = manifest.Session{
		Campaign: manifest.CampaignID{campaigns, 1}, Serial: 1, Issued: now, Expires: now.AddDate(0, 1, 0),
		Manifest: rel.m.Digest(), Target: "all", Group: testGroup, NodeID: testNode, Objects: manifest.ObjectsFor(len(rel.images)),
		FEC:   manifest.FEC{ID: 5, BlockSize: 64, Parity: 32, SegmentSize: 1400, Dialect: manifest.DialectRFC},
		Start: now, VoteDeadline: now.Add(time.Hour), Hold: 24 * time.Hour, Report: "http://server",
	}
	s.start(policy, devices...)
	s.handler = discovery.NewHandler(s)
	return s
}

// start makes the coordinator.
func (s *server) start(policy commit.Policy, devices ...string) {
	s.t.Helper()
	var err error
	s.c, err = commit.OpenCoordinator(commit.CoordinatorConfig{Key: s.key, Public: s.key.Public(),
		Open: func(func([]byte) error) (commit.Log, error) { return new(memoryLog), nil }})
	if err != nil {
		s.t.Fatal(err)
	}
	plan := commit.Plan{Campaign: commit.CampaignID(s.sess.Campaign), Manifest: commit.Digest(s.sess.Manifest)}
	for _, im := range s.rel.m.Images {
		plan.Roots = append(plan.Roots, commit.Digest(im.Root))
	}
	for _, d := range devices {
		plan.Targets = append(plan.Targets, commit.Target{Device: d, Key: testKey(manifest.RoleDevice, d).Public()})
	}
	if policy.Deadline.IsZero() {
		policy.Deadline = s.sess.VoteDeadline
	}
	plan.Waves = []commit.Policy{policy}
	if err := s.c.Start(plan); err != nil {
		s.t.Fatal(err)
	}
	s.sess.Targets = manifest.Digest(commit.TargetsDigest(plan.Targets))
}

// send opens the NORM sender and sends all objects.
func (s *server) send(instance norm.InstanceID) {
	s.t.Helper()
	var err error
	first := s.sess.Objects.Hashes
	if s.segments != nil {
		first--
	}
	s.tx, err = session.Open(session.Config{Conn: s.net.Open(serverAddr), Send: &norm.SenderConfig{
		FEC:  fec.Params{ID: fec.ReedSolomonGF8, MaxBlockLen: 64, MaxParity: 32},
		Node: testNode, Instance: instance, Group: testGroup, GRTT: 20 * time.Millisecond, GroupSize: 10, Rate: cmp.Or(s.rate, 50e6),
		FirstObject: norm.TransportID(first)}})
	if err != nil {
		s.t.Fatal(err)
	}
	put := func(kind norm.Kind, b []byte, info string) {
		if _, _, err := s.tx.Send(s.t.Context(), norm.Object{Kind: kind, Size: int64(len(b)), Pinned: true, Info: []byte(info)}, bytes.NewReader(b)); err != nil {
			s.t.Fatal(err)
		}
	}
	if s.segments != nil {
		put(norm.Data, s.segments, "segments")
	}
	put(norm.Data, s.rel.hashes, "hashes")
	for i, b := range s.rel.images {
		put(norm.File, b, s.rel.m.Images[i].Name)
	}
}

// publish announces the campaign with what is decided so far.
func (s *server) publish() {
	s.t.Helper()
	n := discovery.Notice{Manifest: s.rel.signed, Root: s.root}
	var err error
	if n.Session, err = s.sess.Sign(s.key); err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	answer, err := s.c.Answer(time.Now(), commit.CampaignID(s.sess.Campaign), 0)
	if err != nil {
		s.t.Fatal(err)
	}
	if answer.Signed != nil {
		n.Decisions = [][]byte{answer.Signed}
	}
	n.Brake = answer.Brake
	s.handler.Publish(n)
}

// tell sends the decision to the group, and at the rendezvous.
func (s *server) tellDecision() {
	s.publish()
	if s.tx == nil {
		return
	}
	if d, err := s.Decision(s.t.Context(), s.sess.Campaign.String(), 0); err == nil {
		s.tx.Send(s.t.Context(), norm.Object{Kind: norm.Data, Size: int64(len(d)), Pinned: true}, bytes.NewReader(d))
	}
}

func (s *server) isDecided() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.decided
}

func (s *server) stop() {
	if s.tx != nil {
		s.tx.Close()
		s.tx = nil
	}
}

// reach says whether devices reach the server.
func (s *server) reach(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = !yes
}

// RoundTrip carries HTTP to the handler.
func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	down, handler := s.down, s.handler
	s.mu.Unlock()
	if down {
		return nil, errors.New("connection refused")
	}
	answer := make(chan *http.Response, 1)
	go func() {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r.Clone(r.Context()))
		answer <- w.Result()
	}()
	select {
	case resp := <-answer:
		return resp, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

func (s *server) Hello(_ context.Context, h discovery.Hello) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hellos = append(s.hellos, h)
	return s.refuse["hello"]
}

func (s *server) Status(_ context.Context, st discovery.Status) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.statuses = append(s.statuses, st)
	return nil
}

func (s *server) Vote(_ context.Context, st discovery.Statement) error {
	return s.receive(commit.VoteMessage, st)
}

func (s *server) Outcome(_ context.Context, st discovery.Statement) error {
	return s.receive(commit.ReportMessage, st)
}

func (s *server) receive(kind commit.MessageKind, st discovery.Statement) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost {
		return discovery.ErrUnknown
	}
	refused, err := s.c.Receive(time.Now(), commit.Message{Kind: kind, Device: st.Device, Unsigned: !st.Signed, Bytes: st.Body})
	if err != nil {
		return err
	}
	if refused[0] != nil && !errors.Is(refused[0], commit.ErrReplay) {
		return &discovery.Refusal{Status: http.StatusConflict, Reason: "not-a-target", Detail: refused[0].Error()}
	}
	for e := range s.c.Events() {
		switch {
		case e.Kind == commit.EventDevice && kind == commit.VoteMessage:
			s.votes = append(s.votes, commit.Vote{Device: e.Device, Ready: e.State == commit.StateReady, Reason: e.Reason})
		case e.Kind == commit.EventDevice:
			s.reports = append(s.reports, commit.Report{Device: e.Device, Outcome: e.State, Reason: e.Reason})
		case e.Kind == commit.EventDecided:
			s.decided = true
		}
	}
	return nil
}

func (s *server) Decision(_ context.Context, campaign string, wave uint32) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, err := manifest.ParseCampaignID(campaign)
	if err != nil || s.lost {
		return nil, discovery.ErrUnknown
	}
	answer, err := s.c.Answer(time.Now(), id, wave)
	switch {
	case err != nil:
		return nil, err
	case !answer.Known:
		return nil, discovery.ErrUnknown
	case answer.Signed == nil:
		return nil, discovery.ErrUndecided
	}
	return answer.Signed, nil
}

func (s *server) Adopt(_ context.Context, _ string, _ uint32, decision []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.c.Adopt(decision)
}

func (s *server) Brake(_ context.Context, campaign string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost {
		return nil, discovery.ErrUnknown
	}
	answer, err := s.c.Answer(time.Now(), commit.CampaignID(s.sess.Campaign), 0)
	return answer.Brake, err
}

func (s *server) Object(_ context.Context, _ string, toi uint16) (io.ReaderAt, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetches[toi]++
	switch i := int(toi); {
	case i == 0:
		return bytes.NewReader(s.rel.hashes), int64(len(s.rel.hashes)), nil
	case i <= len(s.rel.images):
		return bytes.NewReader(s.rel.images[i-1]), int64(len(s.rel.images[i-1])), nil
	}
	return nil, 0, discovery.ErrUnknown
}

func (s *server) FileKeys(_ context.Context, q discovery.FileKeyRequest) ([]byte, error) {
	if s.fileKeys == nil {
		return nil, discovery.ErrUnknown
	}
	return s.fileKeys(q)
}

func (s *server) GroupKey(context.Context, discovery.KeyRequest) ([]byte, error) {
	return nil, discovery.ErrUnknown
}

func (s *server) Timestamp() []byte {
	b, err := commit.Timestamp{Time: time.Now()}.Sign(s.key)
	if err != nil {
		panic(err)
	}
	return b
}

// A watcher keeps an agent's events.
type watcher struct {
	mu     sync.Mutex
	events []Event
}

func (w *watcher) add(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

func (w *watcher) kinds() (kinds []EventKind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if e.Kind != EventProgress && e.Kind != EventTrouble {
			kinds = append(kinds, e.Kind)
		}
	}
	return kinds
}

func (w *watcher) find(kind EventKind) (Event, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.events, func(e Event) bool { return e.Kind == kind })
	if i < 0 {
		return Event{}, false
	}
	return w.events[i], true
}

// A hookCall is a call of recordedHooks.
type hookCall struct {
	step       Step
	activation string
	image      string // content of the first image
}

// recordedHooks is Hooks that keeps what it was called for.
type recordedHooks struct {
	mu    sync.Mutex
	calls []hookCall
	fail  map[Step]error
	on    func(Step)
	has   []Step
}

func (h *recordedHooks) Has(s Step) bool { return h.has == nil || slices.Contains(h.has, s) }

func (h *recordedHooks) Run(_ context.Context, s Step, c HookContext) error {
	b, _ := os.ReadFile(c.Images[0])
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, hookCall{s, c.Activation, string(b)})
	if h.on != nil {
		h.on(s)
	}
	return h.fail[s]
}

func (h *recordedHooks) steps() (steps []Step) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.calls {
		steps = append(steps, c.step)
	}
	return steps
}

// config is that of a device at the server's network.
func (s *server) config(dir, device string, w *watcher) AgentConfig {
	port := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, device[len(device)-1]}), 6003)
	return AgentConfig{
		Server: "http://server", Transport: s,
		Trust: manifest.Keys{Keys: []manifest.PublicKey{releaseKey.Public()}, Threshold: 1}, TrustServer: serverKey.Public(),
		Product: "router", Hardware: "r1", Device: device, Key: testKey(manifest.RoleDevice, device),
		Dir: dir, Boot: "boot-1", Event: w.add,
		Conn: func(*manifest.Session) (session.Conn, error) { return s.net.Open(port), nil },
	}
}

// A running agent.
type running struct {
	*watcher
	cancel context.CancelFunc
	done   chan struct{}
	err    *error // what Run returned, once done is closed
}

// run starts an agent.
func run(t testing.TB, cfg AgentConfig, w *watcher) running {
	t.Helper()
	a, err := NewAgent(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return start(t, a, w)
}

func start(t testing.TB, a *Agent, w *watcher) running {
	ctx, cancel := context.WithCancel(t.Context())
	r := running{w, cancel, make(chan struct{}), new(error)}
	go func() {
		*r.err = a.Run(ctx)
		close(r.done)
	}()
	return r
}

// stop ends the agent.
func (r running) stop() {
	r.cancel()
	<-r.done
}

// ended reports whether Run has returned.
func (r running) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// eventually waits in virtual time until ok, at most for limit.
func eventually(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(100 * time.Millisecond) {
		synctest.Wait()
		if time.Now().After(end) {
			t.Fatalf("after %v: no %s", limit, what)
		}
	}
}

// has reports whether an event of the kind was told.
func (w *watcher) has(kind EventKind) func() bool {
	return func() bool { _, ok := w.find(kind); return ok }
}

func readFile(t *testing.T, dir, name string) []byte {
	t.Helper()
	d, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	b, err := disk.ReadFile(d, name, 1<<30)
	if err != nil {
		return nil
	}
	return b
}
