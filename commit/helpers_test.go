package commit_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// at is a time of the test, minutes after start.
func at(minutes float64) time.Time { return start.Add(time.Duration(minutes * float64(time.Minute))) }

// testKey makes a key that is the same in each run.
func testKey(role manifest.Role, name string) *manifest.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	k, err := manifest.GenerateKey(role, bytes.NewReader(seed[:]))
	if err != nil {
		panic(err)
	}
	return k
}

var serverKey = testKey(manifest.RoleServer, "server")

func deviceKey(name string) *manifest.PrivateKey { return testKey(manifest.RoleDevice, name) }

// A memoryLog is a Log whose records survive: what was appended before the power cut is there after it.
type memoryLog struct {
	recs  [][]byte
	power func() (on, written bool) // consulted before each append; nil: always on
}

var errPower = errors.New("power cut")

func (l *memoryLog) Append(recs ...[]byte) error {
	on, written := true, true
	if l.power != nil {
		on, written = l.power()
	}
	if written {
		for _, rec := range recs {
			l.recs = append(l.recs, bytes.Clone(rec))
		}
	}
	if !on {
		return errPower
	}
	return nil
}

func (l *memoryLog) open(replay func(rec []byte) error) (commit.Log, error) {
	for _, rec := range l.recs {
		if err := replay(rec); err != nil {
			return nil, err
		}
	}
	return l, nil
}

var (
	campaign = commit.CampaignID{1, 2, 3}
	image    = commit.Digest(sha256.Sum256([]byte("image")))
	release  = commit.Digest(sha256.Sum256([]byte("manifest")))
	round    = commit.Round{Campaign: campaign, Manifest: release}
)

func targets(names ...string) []commit.Target {
	var list []commit.Target
	for _, name := range names {
		list = append(list, commit.Target{Device: name, Key: deviceKey(name).Public()})
	}
	return list
}

// plan is a campaign for the named devices: all of them, within an hour.
func plan(names ...string) commit.Plan {
	return commit.Plan{
		Campaign: campaign,
		Manifest: release,
		Roots:    []commit.Digest{image},
		Targets:  targets(names...),
		Waves:    []commit.Policy{{Deadline: at(60)}},
	}
}

func openCoordinator(t testing.TB, log *memoryLog) *commit.Coordinator {
	t.Helper()
	c, err := commit.OpenCoordinator(commit.CoordinatorConfig{Key: serverKey, Public: serverKey.Public(), Open: log.open})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func startCoordinator(t testing.TB, log *memoryLog, p commit.Plan) *commit.Coordinator {
	t.Helper()
	c := openCoordinator(t, log)
	if err := c.Start(p); err != nil {
		t.Fatal(err)
	}
	return c
}

func openParticipant(t testing.TB, now time.Time, log *memoryLog, name, boot string) *commit.Participant {
	t.Helper()
	p, err := commit.OpenParticipant(now, commit.ParticipantConfig{
		Device: name, Key: deviceKey(name), Server: serverKey.Public(), Boot: boot, Build: start.Add(-time.Hour), Open: log.open,
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func stage() commit.Stage {
	return commit.Stage{Round: round, Roots: []commit.Digest{image}, Sequence: 7, Epoch: 1,
		Expires: at(24 * 60), Ends: at(48 * 60), Deadline: at(60)}
}

// ready signs a READY as the device would.
func ready(name string, counter uint64) commit.Message {
	return vote(name, commit.Vote{Round: round, Roots: []commit.Digest{image}, Device: name, Ready: true, Counter: counter})
}

// refusal signs a NO as the device would.
func refusal(name string, counter uint64, r commit.Reason) commit.Message {
	return vote(name, commit.Vote{Round: round, Device: name, Reason: r, Counter: counter})
}

func vote(signer string, v commit.Vote) commit.Message {
	return commit.Message{Kind: commit.VoteMessage, Device: v.Device, Bytes: sign(v, deviceKey(signer)), Counter: v.Counter}
}

func report(name string, counter uint64, outcome commit.State, r commit.Reason) commit.Message {
	rep := commit.Report{Round: round, Device: name, Outcome: outcome, Reason: r, Counter: counter}
	return commit.Message{Kind: commit.ReportMessage, Device: name, Bytes: sign(rep, deviceKey(name)), Counter: counter}
}

// sign signs a message, with whatever key the test says.
func sign(m interface {
	Sign(commit.Signer) ([]byte, error)
}, key *manifest.PrivateKey) []byte {
	b, err := m.Sign(key)
	if err != nil {
		panic(err)
	}
	return b
}

// receive gives one message and returns what became of it.
func receive(t testing.TB, c *commit.Coordinator, now time.Time, m commit.Message) error {
	t.Helper()
	refused, err := c.Receive(now, m)
	if err != nil {
		t.Fatal(err)
	}
	return refused[0]
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("got error %v, want %v", got, want)
	}
}

// answer returns what a device that asks is told.
func answer(t testing.TB, c *commit.Coordinator, now time.Time) commit.Answer {
	t.Helper()
	a, err := c.Answer(now, campaign, 0)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func wantVerdict(t testing.TB, c *commit.Coordinator, now time.Time, want commit.Verdict) commit.Answer {
	t.Helper()
	a := answer(t, c, now)
	if a.Verdict != want || !a.Known || (want != commit.Undecided) != (len(a.Signed) > 0) {
		t.Fatalf("answer %v, known %v, %d bytes; want %v", a.Verdict, a.Known, len(a.Signed), want)
	}
	return a
}

// next takes the job that must be open.
func next(t testing.TB, p *commit.Participant, now time.Time, want commit.Task) commit.Job {
	t.Helper()
	job, ok := p.Next(now)
	if !ok {
		job.Task = commit.TaskNone
	}
	if job.Task != want {
		t.Fatalf("next job is %v, want %v", job.Task, want)
	}
	return job
}

// do takes the job that must be open and finishes it: well if no reason is given.
func do(t testing.TB, p *commit.Participant, now time.Time, want commit.Task, reason ...commit.Reason) commit.Job {
	t.Helper()
	job := next(t, p, now, want)
	r := commit.Result{Roots: []commit.Digest{image}}
	if len(reason) > 0 {
		r.Reason = reason[0]
	}
	must(t, p.Finish(now, job, r))
	return job
}

// changes drains the changes as "state" or "state:reason".
func changes(p *commit.Participant) []string {
	var all []string
	for c := range p.Changes() {
		s := string(c.State)
		if c.Reason != commit.ReasonNone {
			s += ":" + string(c.Reason)
		}
		all = append(all, s)
	}
	return all
}

func wantChanges(t testing.TB, p *commit.Participant, want ...string) {
	t.Helper()
	if got := changes(p); !slices.Equal(got, want) {
		t.Fatalf("changes %v, want %v", got, want)
	}
}

func names(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("d%d", i+1))
	}
	return all
}
