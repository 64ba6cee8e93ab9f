package upgrade_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/session"
)

// A fakeDevice is the least that takes part in a campaign: the real participant, client and receiver, a stage in memory,
// and none of an agent's care for storage.
type fakeDevice struct {
	t      testing.TB
	lan    *lan
	name   string
	key    *manifest.PrivateKey // nil: votes unsigned
	server manifest.PublicKey
	hello  discovery.Hello
	client *discovery.Client

	refuse  commit.Reason                    // it votes NO, for this
	outcome commit.Reason                    // its activation fails, for this
	http    bool                             // it fetches by HTTP and joins no group
	pause   func(p *commit.Participant) bool // if true it does nothing for now
	vote    func(s *discovery.Statement)     // changes what it says

	mu          sync.Mutex // guards all below
	recs        [][]byte   // its log
	boots       int
	activations []string // ids that the activate hook got
	errs        []error
	refused     []string // reasons the server gave
	saw         []commit.Verdict
	image       []byte
}

var serverURL = "http://127.0.0.1:8443"

func newFakeDevice(t testing.TB, l *lan, name string, signed bool) *fakeDevice {
	d := &fakeDevice{t: t, lan: l, name: name, server: serverKey.Public(),
		hello: discovery.Hello{Device: name, Product: "phone", Hardware: "rev-a", Agent: bytes.Repeat([]byte(name[len(name)-1:]), 16)}}
	if signed {
		d.key = testKey(manifest.RoleDevice, name)
	}
	client, err := discovery.NewClient(serverURL, &http.Transport{DialContext: l.dial, DisableKeepAlives: true})
	if err != nil {
		t.Fatal(err)
	}
	d.client = client
	return d
}

func (d *fakeDevice) target() commit.Target {
	t := commit.Target{Device: d.name}
	if d.key != nil {
		t.Key = d.key.Public()
	}
	return t
}

func (d *fakeDevice) Append(recs ...[]byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range recs {
		d.recs = append(d.recs, bytes.Clone(r))
	}
	return nil
}

func (d *fakeDevice) openLog(replay func([]byte) error) (commit.Log, error) {
	for _, r := range d.recs {
		if err := replay(r); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// run is one life of the device, until ctx ends.
func (d *fakeDevice) run(ctx context.Context) {
	d.boots++
	cfg := commit.ParticipantConfig{Device: d.name, Server: d.server, Boot: fmt.Sprint(d.boots), Build: time.Now().Add(-time.Hour), Open: d.openLog}
	if d.key != nil {
		cfg.Key = d.key
		if err := d.hello.Sign(d.key); err != nil {
			d.t.Error(err)
		}
	}
	p, err := commit.OpenParticipant(time.Now(), cfg)
	if err != nil {
		d.t.Error(err)
		return
	}
	notices, staged := make(chan *discovery.Notice), make(chan commit.Stage)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		d.client.Follow(ctx, func(n *discovery.Notice) {
			select {
			case notices <- n:
			case <-ctx.Done():
			}
		}, func(error) {})
	})
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	seen, said := false, false
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-notices:
			now := time.Now()
			d.note(p.Timestamp(now, n.Timestamp))
			if !seen {
				seen = d.receive(ctx, &wg, n, staged)
			}
			for _, decision := range n.Decisions {
				d.decide(p, decision)
			}
			if n.Brake != nil {
				d.note(p.Brake(now, n.Brake))
			}
		case st := <-staged:
			if d.refuse != commit.ReasonNone {
				d.note(p.Refuse(time.Now(), st.Round, st.Ends, d.refuse))
			} else if err := p.Stage(time.Now(), st); !errors.Is(err, commit.ErrFinished) {
				d.note(err)
			}
		case <-tick.C:
			if !said { // as long as it takes
				err := d.client.Hello(ctx, d.hello)
				said = err == nil
				d.turnedAway(err)
			}
		}
		if d.pause != nil && d.pause(p) {
			continue
		}
		d.note(p.Advance(time.Now()))
		d.work(ctx, p)
		d.talk(ctx, p)
	}
}

func (d *fakeDevice) decide(p *commit.Participant, signed []byte) {
	decision, err := commit.OpenDecision(signed, d.server)
	d.note(err)
	d.mu.Lock()
	d.saw = append(d.saw, decision.Verdict)
	d.mu.Unlock()
	if err := p.Decide(time.Now(), signed); !errors.Is(err, commit.ErrFinished) && !errors.Is(err, commit.ErrNoVote) {
		d.note(err)
	}
}

// work does the participant's jobs at once.
func (d *fakeDevice) work(ctx context.Context, p *commit.Participant) {
	for {
		job, ok := p.Next(time.Now())
		if !ok {
			return
		}
		var r commit.Result
		switch job.Task {
		case commit.TaskVerify, commit.TaskCheckStage:
			r.Roots = []commit.Digest{d.root()}
		case commit.TaskAskBrake:
			if b, err := d.client.Brake(ctx, job.Round.Campaign.String()); err == nil && len(b) > 0 {
				d.note(p.Brake(time.Now(), b))
			}
		case commit.TaskActivate:
			d.mu.Lock()
			d.activations = append(d.activations, job.Activation)
			d.mu.Unlock()
			r.Reason = d.outcome
		}
		if err := p.Finish(time.Now(), job, r); !errors.Is(err, commit.ErrStale) {
			d.note(err)
		}
	}
}

func (d *fakeDevice) root() commit.Digest {
	d.mu.Lock()
	defer d.mu.Unlock()
	im, _, err := manifest.NewImage("fw.bin", bytes.NewReader(d.image), int64(len(d.image)))
	if err != nil {
		d.errs = append(d.errs, err)
	}
	return commit.Digest(im.Root)
}

// talk says what the server does not know yet.
func (d *fakeDevice) talk(ctx context.Context, p *commit.Participant) {
	messages, err := p.Messages()
	d.note(err)
	for _, m := range messages {
		s := discovery.Statement{Device: d.name, Signed: !m.Unsigned, Body: m.Bytes}
		if d.vote != nil {
			d.vote(&s)
		}
		if m.Kind == commit.VoteMessage {
			err = d.client.Vote(ctx, s)
		} else {
			err = d.client.Outcome(ctx, s)
		}
		d.turnedAway(err)
		if err == nil {
			d.note(p.Acknowledge(time.Now(), m.Counter))
		}
	}
}

// receive begins the transfer that the notice describes.
func (d *fakeDevice) receive(ctx context.Context, wg *sync.WaitGroup, n *discovery.Notice, staged chan<- commit.Stage) bool {
	m, _, err := manifest.OpenUnverified(n.Manifest)
	d.note(err)
	s, err := manifest.OpenSession(n.Session, d.server, nil, time.Now())
	d.note(err)
	if err != nil || s.Describes(m) != nil {
		return false
	}
	st := commit.Stage{
		Round: commit.Round{Campaign: commit.CampaignID(s.Campaign), Manifest: commit.Digest(m.Digest())},
		Roots: []commit.Digest{commit.Digest(m.Images[0].Root)}, Sequence: m.Sequence, Epoch: m.Epoch,
		Expires: m.Expires, Ends: s.Expires, Deadline: s.VoteDeadline, Hold: s.Hold,
	}
	image := make([]byte, m.Images[0].Size)
	wg.Go(func() {
		var err error
		if d.http {
			err = d.client.Fetch(ctx, s.Campaign.String(), s.Objects.Images[0], image, 0)
		} else {
			err = d.receiveMulticast(ctx, s, m, image)
		}
		if ctx.Err() != nil {
			return
		}
		d.note(err)
		if manifest.Digest(sha256.Sum256(image)) != m.Images[0].SHA256 {
			d.note(errors.New("another image arrived"))
		}
		d.mu.Lock()
		d.image = image
		d.mu.Unlock()
		select {
		case staged <- st:
		case <-ctx.Done():
		}
	})
	return true
}

func (d *fakeDevice) receiveMulticast(ctx context.Context, s *manifest.Session, m *manifest.Manifest, image memory) error {
	conn, err := d.lan.open()
	if err != nil {
		return err
	}
	node := norm.NodeID(conn.(*lanPort).addr.Addr().As4()[3])
	rx, err := session.Open(session.Config{Conn: conn, Receive: &norm.ReceiverConfig{
		Node: node, Group: s.Group, Sender: norm.NodeID(s.NodeID), Join: norm.JoinAll, Patience: true, Seed: uint64(node)}})
	if err != nil {
		return err
	}
	defer rx.Close()
	preset := norm.Preset{Sender: norm.NodeID(s.NodeID), FEC: fec.Params{ID: s.FEC.ID, MaxBlockLen: int(s.FEC.BlockSize), MaxParity: int(s.FEC.Parity), SegmentSize: int(s.FEC.SegmentSize)}}
	hashes := make(memory, m.HashListSize())
	wanted := map[norm.Handle]bool{}
	preset.ID, preset.Kind, preset.Size = norm.TransportID(s.Objects.Hashes), norm.Data, m.HashListSize()
	h, err := rx.Expect(ctx, preset, hashes)
	if err != nil {
		return err
	}
	wanted[h] = true
	preset.ID, preset.Kind, preset.Size, preset.Info = norm.TransportID(s.Objects.Images[0]), norm.File, m.Images[0].Size, true
	if h, err = rx.Expect(ctx, preset, image); err != nil {
		return err
	}
	wanted[h] = true
	for len(wanted) > 0 {
		e, err := rx.Next(ctx)
		if err != nil {
			return err
		}
		if e.Kind == norm.ObjectComplete {
			delete(wanted, e.Object)
		}
	}
	for piece := range m.Pieces() {
		if _, err := m.OpenPiece(piece, hashes[piece.Offset:piece.Offset+piece.Length]); err != nil {
			return err
		}
	}
	return nil
}

// memory is a sink.
type memory []byte

func (m memory) WriteAt(b []byte, off int64) (int, error) { return copy(m[off:], b), nil }
func (m memory) ReadAt(b []byte, off int64) (int, error)  { return copy(b, m[off:]), nil }

func (d *fakeDevice) note(err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.errs = append(d.errs, err)
	}
}

func (d *fakeDevice) turnedAway(err error) {
	if r, ok := errors.AsType[*discovery.Refusal](err); ok {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.refused = append(d.refused, r.Reason)
	}
}

// told returns the reasons for which the server turned the device down.
func (d *fakeDevice) told() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.refused)
}

// verdicts returns the decisions it heard.
func (d *fakeDevice) verdicts() []commit.Verdict {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.saw)
}

// troubles returns what should not have happened to it.
func (d *fakeDevice) troubles() []error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.errs)
}
