package commit_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
)

// unchanged runs f and makes sure that it left nothing in the log.
func unchanged(t testing.TB, log *memoryLog, f func()) {
	t.Helper()
	before := len(log.recs)
	f()
	if len(log.recs) != before {
		t.Errorf("%d records were logged", len(log.recs)-before)
	}
}

// TestAttackWaveBeyondAnInt asks for waves whose numbers are negative where an int has 32 bits, as in a server on a small board.
// Each device can: the number is in the path of a request.
func TestAttackWaveBeyondAnInt(t *testing.T) {
	for _, wave := range []uint32{1, 1<<31 - 1, 1 << 31, 1<<32 - 1} {
		log := &memoryLog{}
		p := plan("d1")
		p.Approvers = []manifest.Approvers{approvers(1, "anna")}
		c := startCoordinator(t, log, p)
		if a, err := c.Answer(at(1), campaign, wave); err != nil || a.Known {
			t.Errorf("wave %d: %+v, %v", wave, a, err)
		}
		unchanged(t, log, func() {
			wantErr(t, c.Adopt(decision(commit.Abort, func(d *commit.Decision) { d.Wave = wave })), commit.ErrUnknown)
			wantErr(t, c.Agree(at(1), approval("anna", func(a *commit.Approval) { a.Wave = wave }, "d1")), commit.ErrUnknown)
			wantErr(t, c.Approve(at(1), wave), commit.ErrUnknown)
		})
	}
}

// Attacks on a device.

func TestAttackReplayedDecision(t *testing.T) {
	other := map[string]func(*commit.Decision){
		"other campaign": func(d *commit.Decision) { d.Campaign[0]++ },
		"other wave":     func(d *commit.Decision) { d.Wave++ },
		"other manifest": func(d *commit.Decision) { d.Manifest[0]++ },
	}
	for name, change := range other {
		t.Run(name, func(t *testing.T) {
			log := &memoryLog{}
			p := readyDevice(t, log)
			unchanged(t, log, func() {
				wantErr(t, p.Decide(start, decision(commit.Commit, change)), commit.ErrNoVote)
				wantErr(t, p.Decide(start, decision(commit.Abort, change)), commit.ErrNoVote)
			})
			next(t, p, start, commit.TaskNone)
			must(t, p.Decide(start, decision(commit.Commit))) // its own still counts
		})
	}
}

func TestAttackDecisionOfAnotherKey(t *testing.T) {
	d := commit.Decision{Round: round, Verdict: commit.Commit}
	for name, key := range map[string]*manifest.PrivateKey{
		"another server": testKey(manifest.RoleServer, "mallory"),
		"release key":    testKey(manifest.RoleRelease, "release"),
		"device key":     deviceKey("d1"),
	} {
		log := &memoryLog{}
		p := readyDevice(t, log)
		unchanged(t, log, func() { wantErr(t, p.Decide(start, sign(d, key)), manifest.ErrSignature) })
		if _, ok := p.Next(start); ok {
			t.Errorf("%s: a job after a forged decision", name)
		}
	}
}

func TestAttackAlteredDecision(t *testing.T) {
	log := &memoryLog{}
	p := readyDevice(t, log)
	abort := decision(commit.Abort)
	unchanged(t, log, func() {
		for i := range abort {
			for bit := range 8 {
				forged := bytes.Clone(abort)
				forged[i] ^= 1 << bit
				if p.Decide(start, forged) == nil {
					t.Fatalf("byte %d bit %d: taken", i, bit)
				}
			}
		}
	})
}

// A message signed for one purpose does not count for another.
func TestAttackSignatureForAnotherPurpose(t *testing.T) {
	log := &memoryLog{}
	p := readyDevice(t, log)
	unchanged(t, log, func() {
		for _, m := range []interface {
			Sign(commit.Signer) ([]byte, error)
		}{commit.Brake{Campaign: campaign, Sequence: 1}, commit.Timestamp{Time: start}, commit.Vote{Round: round, Device: "d1", Ready: true, Counter: 1}} {
			wantErr(t, p.Decide(start, sign(m, serverKey)), manifest.ErrSignature)
		}
		wantErr(t, p.Brake(start, decision(commit.Commit)), manifest.ErrSignature)
		wantErr(t, p.Timestamp(start, decision(commit.Commit)), manifest.ErrSignature)
	})
}

func TestAttackDecisionBeforeTheVote(t *testing.T) {
	log := &memoryLog{}
	p := openParticipant(t, start, log, "d1", "boot-1")
	wantErr(t, p.Decide(start, decision(commit.Commit)), commit.ErrNoVote)
	must(t, p.Stage(start, stage()))
	unchanged(t, log, func() { wantErr(t, p.Decide(start, decision(commit.Commit)), commit.ErrNoVote) })
	next(t, p, start, commit.TaskVerify) // it goes on as if nothing was said
}

func TestAttackBothVerdicts(t *testing.T) {
	log := &memoryLog{}
	p := readyDevice(t, log)
	must(t, p.Decide(start, decision(commit.Commit)))
	unchanged(t, log, func() { wantErr(t, p.Decide(start, decision(commit.Abort)), commit.ErrConflict) })
	next(t, p, start, commit.TaskAskBrake) // the first one counts
}

// A replayed timestamp can only delay.
func TestAttackReplayedTimestamp(t *testing.T) {
	p := readyDevice(t, &memoryLog{})
	must(t, p.Decide(start, decision(commit.Commit, func(d *commit.Decision) { d.NotBefore = at(120) })))
	must(t, p.Timestamp(start, sign(commit.Timestamp{Time: at(100)}, serverKey)))
	must(t, p.Timestamp(at(5), sign(commit.Timestamp{Time: at(-1000)}, serverKey))) // an old one
	clock := p.Clock()
	if got := clock.UTC(at(5)); !got.Equal(at(105)) {
		t.Errorf("time %v, want %v", got, at(105))
	}
	next(t, p, at(19), commit.TaskNone)
	next(t, p, at(20), commit.TaskAskBrake)
}

func TestAttackTimestampOfAnotherKey(t *testing.T) {
	p := readyDevice(t, &memoryLog{})
	wantErr(t, p.Timestamp(start, sign(commit.Timestamp{Time: at(1e6)}, deviceKey("d1"))), manifest.ErrSignature)
	if clock := p.Clock(); clock.Known() || clock.UTC(start).After(start) {
		t.Error("a forged timestamp moved the clock")
	}
}

// Attacks on the server.

func TestAttackForgedVote(t *testing.T) {
	v := commit.Vote{Round: round, Roots: []commit.Digest{image}, Device: "d1", Ready: true, Counter: 1}
	flipped := ready("d1", 1)
	flipped.Bytes[len(flipped.Bytes)-1] ^= 1
	asOther := ready("d2", 1)
	asOther.Device = "d1"
	unsigned := commit.Message{Kind: commit.VoteMessage, Device: "d1", Unsigned: true, Bytes: v.Encode()}
	asReport := ready("d1", 1)
	asReport.Kind = commit.ReportMessage
	cases := []struct {
		name string
		m    commit.Message
		want error
	}{
		{"signed by another device", vote("d2", v), manifest.ErrSignature},
		{"signed by a stranger", commit.Message{Kind: commit.VoteMessage, Device: "d1", Bytes: sign(v, testKey(manifest.RoleDevice, "mallory"))}, manifest.ErrSignature},
		{"signature damaged", flipped, manifest.ErrSignature},
		{"vote of d2 sent as d1", asOther, manifest.ErrSignature},
		{"without signature", unsigned, commit.ErrUnsigned},
		{"vote sent as report", asReport, manifest.ErrSignature},
		{"unlisted device", ready("d9", 1), commit.ErrNotTarget},
		{"other campaign", vote("d1", with(v, func(v *commit.Vote) { v.Campaign[0]++ })), commit.ErrUnknown},
		{"other wave", vote("d1", with(v, func(v *commit.Vote) { v.Wave++ })), commit.ErrUnknown},
		{"other manifest", vote("d1", with(v, func(v *commit.Vote) { v.Manifest[0]++ })), commit.ErrUnknown},
		{"other image", vote("d1", with(v, func(v *commit.Vote) { v.Roots = []commit.Digest{{1}} })), commit.ErrRoots},
		{"one image more", vote("d1", with(v, func(v *commit.Vote) { v.Roots = append(v.Roots, image) })), commit.ErrRoots},
		{"unknown kind", commit.Message{Kind: 9, Device: "d1", Bytes: ready("d1", 1).Bytes}, commit.ErrMessage},
	}
	for _, allow := range []bool{false, true} { // unsigned votes are none for a device that has a key
		log := &memoryLog{}
		p := plan("d1", "d2")
		p.AllowUnsigned = allow
		c := startCoordinator(t, log, p)
		unchanged(t, log, func() {
			for _, tc := range cases {
				if err := receive(t, c, at(1), tc.m); err == nil {
					t.Errorf("%s: taken", tc.name)
				} else {
					wantErr(t, err, tc.want)
				}
			}
		})
		must(t, receive(t, c, at(1), ready("d1", 1)))
		must(t, receive(t, c, at(1), ready("d2", 1)))
		wantVerdict(t, c, at(1), commit.Commit)
	}
}

// TestAttackUnsignedVoteForAnother: where votes are unsigned, each still speaks for one device only.
func TestAttackUnsignedVoteForAnother(t *testing.T) {
	log := &memoryLog{}
	p := plan()
	p.Targets, p.AllowUnsigned = []commit.Target{{Device: "d1"}, {Device: "d2"}}, true
	c := startCoordinator(t, log, p)
	v := commit.Vote{Round: round, Roots: []commit.Digest{image}, Device: "d2", Ready: true, Counter: 1}
	unchanged(t, log, func() {
		wantErr(t, receive(t, c, at(1), commit.Message{Kind: commit.VoteMessage, Device: "d1", Unsigned: true, Bytes: v.Encode()}), commit.ErrMessage)
		wantErr(t, receive(t, c, at(1), vote("d2", v)), manifest.ErrSignature) // signed by a key that nobody has registered
	})
}

func with(v commit.Vote, f func(*commit.Vote)) commit.Vote {
	v.Roots = slices.Clone(v.Roots)
	f(&v)
	return v
}

// TestAttackReplayedReady: an old READY must not speak for a device that has taken it back.
func TestAttackReplayedReady(t *testing.T) {
	log := &memoryLog{}
	c := startCoordinator(t, log, plan("d1", "d2"))
	must(t, receive(t, c, at(1), ready("d1", 1)))
	must(t, receive(t, c, at(2), report("d1", 2, commit.StateReleased, commit.ReasonHoldExpired)))
	for range 2 {
		wantErr(t, receive(t, c, at(3), ready("d1", 1)), commit.ErrReplay)
		c = openCoordinator(t, log)
	}
	must(t, receive(t, c, at(4), ready("d2", 1)))
	wantVerdict(t, c, at(4), commit.Undecided)
}

func TestReadyAfterNo(t *testing.T) {
	p := plan("d1", "d2")
	p.Waves[0].Quorum = 50
	c := startCoordinator(t, &memoryLog{}, p)
	must(t, receive(t, c, at(1), refusal("d1", 1, commit.ReasonVerifyHook)))
	wantErr(t, receive(t, c, at(2), ready("d1", 2)), commit.ErrRefused)
	wantErr(t, receive(t, c, at(2), report("d1", 3, commit.StateCommitted, "")), commit.ErrRefused)
	wantVerdict(t, c, at(2), commit.Undecided)
}

// TestAttackClonedDevice covers the ways in which a cloned image shows itself. Both are never READY.
func TestAttackClonedDevice(t *testing.T) {
	shared := deviceKey("d1").Public()
	t.Run("under two names", func(t *testing.T) {
		log := &memoryLog{}
		p := plan()
		p.Expect, p.Waves[0].Quorum = 4, 50
		c := startCoordinator(t, log, p)
		must(t, c.Announce(start, commit.Presence{Device: "d1", Key: shared}))
		must(t, receive(t, c, at(1), ready("d1", 1))) // before the other one came
		must(t, c.Announce(at(2), commit.Presence{Device: "d2", Key: shared}))
		must(t, c.Announce(at(2), commit.Presence{Device: "d3", Key: deviceKey("d3").Public()}))
		must(t, receive(t, c, at(3), ready("d3", 1)))
		for range 2 {
			v := commit.Vote{Round: round, Roots: []commit.Digest{image}, Device: "d2", Ready: true, Counter: 1}
			wantErr(t, receive(t, c, at(4), vote("d1", v)), commit.ErrDuplicate)
			wantErr(t, receive(t, c, at(4), ready("d1", 2)), commit.ErrDuplicate)
			wantVerdict(t, c, at(4), commit.Undecided) // one of four is ready
			for _, name := range []string{"d1", "d2"} {
				if d, _ := c.Device(name); !d.Duplicate || d.Reason != commit.ReasonDuplicate {
					t.Errorf("%s: %+v, want it marked as duplicate", name, d)
				}
			}
			c = openCoordinator(t, log)
		}
	})
	t.Run("under one name, taking turns", func(t *testing.T) {
		log := &memoryLog{}
		c := startCoordinator(t, log, plan("d1", "d2"))
		for i, instance := range []byte{1, 1, 2, 2, 3} { // a device that restarts twice is none
			must(t, c.Announce(at(float64(i)), commit.Presence{Device: "d1", Key: shared, Instance: [16]byte{instance}}))
		}
		must(t, receive(t, c, at(10), ready("d1", 1)))
		wantVerdict(t, c, at(10), commit.Undecided)
		must(t, c.Announce(at(11), commit.Presence{Device: "d1", Key: shared, Instance: [16]byte{2}})) // 2 lives beside 3
		a := wantVerdict(t, c, at(11), commit.Abort)                                                   // all cannot be reached now
		if !bytes.Equal(a.Signed, wantVerdict(t, openCoordinator(t, log), at(11), commit.Abort).Signed) {
			t.Error("another decision after a restart")
		}
	})
	t.Run("under one name, by its votes", func(t *testing.T) {
		c := startCoordinator(t, &memoryLog{}, plan("d1", "d2"))
		must(t, receive(t, c, at(1), ready("d1", 1)))
		wantErr(t, receive(t, c, at(1), refusal("d1", 1, commit.ReasonDiskFull)), commit.ErrDuplicate) // one counter, two votes
		if d, _ := c.Device("d1"); !d.Duplicate {
			t.Error("not marked as duplicate")
		}
		wantVerdict(t, c, at(1), commit.Abort)
	})
}

// TestAttackFalseDuplicate: without the device's key nobody changes what is known of it.
func TestAttackFalseDuplicate(t *testing.T) {
	log := &memoryLog{}
	c := startCoordinator(t, log, plan("d1"))
	mallory := testKey(manifest.RoleDevice, "mallory").Public()
	for _, instance := range []byte{1, 2, 1, 2} {
		unchanged(t, log, func() {
			wantErr(t, c.Announce(start, commit.Presence{Device: "d1", Key: mallory, Instance: [16]byte{instance}}), commit.ErrNotTarget)
			must(t, c.Announce(start, commit.Presence{Device: "d1", Instance: [16]byte{instance}}))
		})
	}
	must(t, receive(t, c, at(1), ready("d1", 1)))
	wantVerdict(t, c, at(1), commit.Commit)
}

func TestAttackStrangersJoin(t *testing.T) {
	log := &memoryLog{}
	c := startCoordinator(t, log, plan("d1"))
	unchanged(t, log, func() {
		wantErr(t, c.Announce(start, commit.Presence{Device: "d2", Key: deviceKey("d2").Public()}), commit.ErrNotTarget)
	})
	p := plan()
	p.Expect = 1
	log = &memoryLog{}
	c = startCoordinator(t, log, p)
	unchanged(t, log, func() {
		wantErr(t, c.Announce(start, commit.Presence{Device: "../d1", Key: deviceKey("d1").Public()}), commit.ErrMessage)
		wantErr(t, c.Announce(start, commit.Presence{Device: "d1", Key: serverKey.Public()}), commit.ErrNotTarget)
		wantErr(t, c.Announce(start, commit.Presence{Device: "d1"}), commit.ErrUnsigned)
	})
	must(t, c.Announce(start, commit.Presence{Device: "d1", Key: deviceKey("d1").Public()}))
	wantErr(t, c.Announce(start, commit.Presence{Device: "d2", Key: deviceKey("d2").Public()}), commit.ErrNotTarget) // the list is closed
	wantErr(t, c.Announce(start, commit.Presence{Device: "d1", Key: deviceKey("d2").Public()}), commit.ErrNotTarget) // and the name taken
}

// TestForgottenDecisionIsAdopted: the store came back older than what was signed.
func TestForgottenDecisionIsAdopted(t *testing.T) {
	for _, verdict := range []commit.Verdict{commit.Commit, commit.Abort} {
		log := &memoryLog{}
		c := startCoordinator(t, log, plan("d1"))
		must(t, c.MarkRestored())
		for range 2 {
			must(t, receive(t, c, at(1), ready("d1", 1)))
			wantVerdict(t, c, at(1e6), commit.Undecided) // neither by votes nor by the deadline
			wantErr(t, c.Approve(at(1), 0), commit.ErrRestored)
			wantErr(t, c.Abort(at(1), 0), commit.ErrRestored)
			c = openCoordinator(t, log)
		}
		shown := decision(verdict)
		must(t, c.Adopt(shown))
		must(t, c.Adopt(shown))
		for range 2 {
			if a := wantVerdict(t, c, at(1e6), verdict); !bytes.Equal(a.Signed, shown) {
				t.Error("adopted decision has other bytes")
			}
			opposite := decision(commit.Commit + commit.Abort - verdict)
			unchanged(t, log, func() { wantErr(t, c.Adopt(opposite), commit.ErrConflict) })
			c = openCoordinator(t, log)
		}
	}
}

func TestAttackForgedDecisionAdopted(t *testing.T) {
	log := &memoryLog{}
	c := startCoordinator(t, log, plan("d1"))
	unchanged(t, log, func() {
		wantErr(t, c.Adopt(sign(commit.Decision{Round: round, Verdict: commit.Commit}, testKey(manifest.RoleServer, "mallory"))), manifest.ErrSignature)
		for _, change := range []func(*commit.Decision){
			func(d *commit.Decision) { d.Campaign[0]++ },
			func(d *commit.Decision) { d.Manifest[0]++ },
			func(d *commit.Decision) { d.Wave = 7 },
		} {
			wantErr(t, c.Adopt(decision(commit.Commit, change)), commit.ErrUnknown)
		}
	})
	wantVerdict(t, c, at(1), commit.Undecided)
}
