package upgrade

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk/diskfault"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/merkle"
)

// A crashScenario is what is to happen in a run, but for what goes wrong with disks.
type crashScenario struct {
	devices, waves int
	campaigns      int // the second begins while the first is under way, or just behind it
	second         secondRelease
	images         int
	large          bool // an image has more than one leaf
	signed         bool // what devices say is
	hooks          bool // they activate, instead of renames into DIR/current
	badHooks       bool // some say no
	ask            bool // a person approves
	timed          bool // activation has a time
	quorum         int
	maxFailures    int
	operator       bool    // a person interferes
	clockJumps     bool    // the server's clock is set to another time
	loss           float64 // of messages; as many come twice
}

// A secondRelease is what the second campaign is about.
type secondRelease uint8

const (
	newer secondRelease = iota
	older               // which a device that runs the first refuses
	same                // the very same, by another campaign
)

// secondCampaign is when it begins, and voteTime how long votes are taken.
const (
	secondCampaign = 40 * time.Minute
	voteTime       = time.Hour
)

func drawScenario(rng *rand.Rand) crashScenario {
	one := func(in int) bool { return rng.IntN(in) == 0 }
	s := crashScenario{
		devices: 1 + min(rng.IntN(4), rng.IntN(4)), waves: 1, campaigns: 1, images: 1 + rng.IntN(2), quorum: 100,
		large: one(16), signed: one(4), hooks: one(3), badHooks: one(6), ask: one(5), timed: one(6), operator: one(3), clockJumps: one(5),
		loss: []float64{0, 0.1, 0.3}[rng.IntN(3)],
	}
	if one(4) {
		s.campaigns, s.second = 2, secondRelease(rng.IntN(3))
	}
	if s.devices > 1 && one(3) {
		s.waves = 2
	}
	if one(3) {
		s.quorum = 50
	}
	if one(6) {
		s.maxFailures = 1
	}
	return s
}

// A crashFixture is what is signed for a campaign, the same in each run.
type crashFixture struct {
	index         int
	id            commit.CampaignID
	release       *manifest.Manifest
	signed        []byte
	hashes        []byte
	images        [][]byte
	session       *manifest.Session
	signedSession []byte
}

var crashFixtures = map[string]*crashFixture{}

// fixture makes what is signed for a campaign of a scenario, once.
func (w *crashWorld) fixture(index int) *crashFixture {
	sequence := uint64(5)
	if index == 1 {
		sequence = map[secondRelease]uint64{newer: 6, older: 4, same: 5}[w.second]
	}
	name := fmt.Sprint(index, sequence, w.images, w.large, w.waves)
	if f, ok := crashFixtures[name]; ok {
		return f
	}
	f, err := makeFixture(index, sequence, w.images, w.large, w.waves)
	if err != nil {
		panic(err)
	}
	crashFixtures[name] = f
	return f
}

func makeFixture(index int, sequence uint64, images int, large bool, waves int) (*crashFixture, error) {
	f := &crashFixture{index: index, id: commit.CampaignID{0xc0, byte(index + 1)}}
	m := manifest.Manifest{Product: "router", Hardware: []string{"r1"}, Version: fmt.Sprint("2.", sequence), Sequence: sequence, Epoch: 3,
		Created: crashStart, Expires: crashStart.AddDate(1, 0, 0)}
	var leaves [][]merkle.Hash
	for i := range images {
		size := 1500 + 100*i
		if large && i == 0 {
			size += 2 * merkle.MinLeafSize
		}
		b := testImage(size, 10*sequence+uint64(i))
		im, hashes, err := manifest.NewImage(fmt.Sprintf("fw%d", i), bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return nil, err
		}
		f.images, m.Images, leaves = append(f.images, b), append(m.Images, im), append(leaves, hashes)
	}
	var errs [4]error
	f.signed, errs[0] = m.Sign(releaseKey)
	f.hashes, errs[1] = m.HashList(leaves)
	f.release, errs[2] = manifest.OpenSigned(f.signed, manifest.Keys{Keys: []manifest.PublicKey{releaseKey.Public()}, Threshold: 1})
	begins := crashStart.Add(time.Duration(index) * secondCampaign)
	f.session = &manifest.Session{
		Campaign: f.id, Serial: 1, Issued: begins, Expires: begins.AddDate(0, 1, 0),
		Manifest: m.Digest(), Target: "all", Group: testGroup, NodeID: testNode, Objects: manifest.ObjectsFor(images),
		FEC:   manifest.FEC{ID: 5, BlockSize: 64, Parity: 32, SegmentSize: 1400, Dialect: manifest.DialectRFC},
		Start: begins, VoteDeadline: begins.Add(voteTime), Hold: 12 * time.Hour, Report: "http://server",
	}
	if waves > 1 {
		f.session.Waves = uint32(waves)
	}
	f.signedSession, errs[3] = f.session.Sign(serverKey)
	return f, errors.Join(errs[:]...)
}

func (f *crashFixture) log() string { return fmt.Sprint("log-", f.index) }

func (f *crashFixture) round(wave uint32) commit.Round {
	return commit.Round{Campaign: f.id, Wave: wave, Manifest: commit.Digest(f.session.Manifest)}
}

// plan returns the plan of the campaign.
func (f *crashFixture) plan(w *crashWorld) commit.Plan {
	p := commit.Plan{Campaign: f.id, Manifest: commit.Digest(f.session.Manifest), MaxFailures: w.maxFailures, AllowUnsigned: !w.signed}
	for _, im := range f.release.Images {
		p.Roots = append(p.Roots, commit.Digest(im.Root))
	}
	for _, d := range w.devices {
		t := commit.Target{Device: d.name, Wave: d.wave}
		if w.signed {
			t.Key = testKey(manifest.RoleDevice, d.name).Public()
		}
		p.Targets = append(p.Targets, t)
	}
	for wave := range w.waves {
		policy := commit.Policy{Quorum: w.quorum, Ask: w.ask, OutcomeTimeout: 15 * time.Minute, Soak: time.Minute}
		if wave == 0 {
			policy.Deadline = f.session.VoteDeadline
		} else {
			policy.ReadyTimeout = voteTime
		}
		if w.timed {
			policy.NotBefore, policy.Spread = f.session.Start.Add(20*time.Minute), 10*time.Minute
		}
		p.Waves = append(p.Waves, policy)
	}
	return p
}

// A faultSource says what goes wrong.
type faultSource interface {
	at(w *crashWorld, party int, op diskfault.Op) diskfault.Fault
	hook(w *crashWorld, d *crashDevice) bool // the power goes at a hook
	crashOnly() bool                         // nothing but power cuts and kills
}

// A faultPoint is one fault at one operation of one party: what is enumerated.
type faultPoint struct {
	party int
	op    int
	fault diskfault.Fault
}

func (p faultPoint) at(_ *crashWorld, party int, op diskfault.Op) diskfault.Fault {
	if party == p.party && op.N == p.op {
		return p.fault
	}
	return diskfault.None
}

func (faultPoint) hook(*crashWorld, *crashDevice) bool { return false }
func (p faultPoint) crashOnly() bool                   { return isCrash(p.fault) }

func isCrash(f diskfault.Fault) bool {
	switch f {
	case diskfault.Cut, diskfault.CutAfter, diskfault.KillBefore, diskfault.KillAfter:
		return true
	}
	return false
}

// A faultCount is a run in which nothing goes wrong: it notes what could.
type faultCount struct{ points []faultPoint }

func (c *faultCount) at(_ *crashWorld, party int, op diskfault.Op) diskfault.Fault {
	for _, f := range op.Kind.Faults() {
		if canRot(party, op) || f != diskfault.Rot {
			c.points = append(c.points, faultPoint{party, op.N, f})
		}
	}
	return diskfault.None
}

func (*faultCount) hook(*crashWorld, *crashDevice) bool { return false }
func (*faultCount) crashOnly() bool                     { return true }

// canRot reports whether the medium may get what is written wrong without anybody noticing: in a stage, which is there in
// print. The last frame of a log that rots is like one that was torn, and there is no second copy of it to tell.
func canRot(party int, op diskfault.Op) bool {
	return party > 0 && strings.HasPrefix(op.Name, stagesDir+"/")
}

// A faultStorm has each operation go wrong with some probability. What is read twice is not wrong twice: that would be rot.
type faultStorm struct {
	rate    float64
	of      stormKind
	misread string // party and name of the file that was read wrong last
}

type stormKind uint8

const (
	anyFault  stormKind = iota
	onlyCrash           // power cuts and kills
	onlyBits            // wrong on the medium, or read wrong; these are more frequent
)

func (s *faultStorm) at(w *crashWorld, party int, op diskfault.Op) diskfault.Fault {
	if s.of == onlyBits {
		return s.bits(w, party, op)
	}
	if w.rng.Float64() >= s.rate {
		return diskfault.None
	}
	all := op.Kind.Faults()
	f := all[w.rng.IntN(len(all))]
	switch {
	case f == diskfault.Rot || f == diskfault.Misread:
		return s.bits(w, party, op)
	case s.of == onlyCrash && !isCrash(f):
		return diskfault.Cut
	}
	return f
}

// bits lets a bit be wrong where it can be.
func (s *faultStorm) bits(w *crashWorld, party int, op diskfault.Op) diskfault.Fault {
	if s.of == onlyCrash || s.of == onlyBits && w.rng.Float64() >= 5*s.rate {
		return diskfault.None
	}
	switch file := fmt.Sprint(party, op.Name); {
	case op.Kind == diskfault.Write && canRot(party, op):
		return diskfault.Rot
	case op.Kind == diskfault.Read && s.misread != file:
		s.misread = file
		return diskfault.Misread
	}
	return diskfault.None
}

// hook bounds how often one hook is cut off: activation is given up after the third time.
func (s *faultStorm) hook(w *crashWorld, d *crashDevice) bool {
	return s.of != onlyBits && d.boot < 3 && w.chance(4*s.rate)
}

func (s *faultStorm) crashOnly() bool { return s.of == onlyCrash }
