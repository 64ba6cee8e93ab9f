package commit

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
)

func unhex(s string) []byte {
	s = strings.Join(strings.Fields(s), "")
	s = strings.ReplaceAll(s, "MANIFEST", "5820"+strings.Repeat("aa", 32))
	s = strings.ReplaceAll(s, "ROOT", "5820"+strings.Repeat("bb", 32))
	s = strings.ReplaceAll(s, "TARGETS", "5820"+strings.Repeat("cc", 32))
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func filled(b byte) (d Digest) { return Digest(bytes.Repeat([]byte{b}, len(d))) }

var (
	goldenRound = Round{CampaignID{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, 2, filled(0xaa)}
	noon        = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

// golden has each message and its bytes: a CBOR map, key by key. The bytes were computed with an independent script.
var golden = []struct {
	name    string
	message interface{ Encode() []byte }
	hex     string
}{
	{"READY", Vote{Round: goldenRound, Roots: []Digest{filled(0xbb)}, Device: "d1", Ready: true, Counter: 300},
		`a8 01 01  02 50000102030405060708090a0b0c0d0e0f  03 02  04 MANIFEST  05 81 ROOT  06 62 6431  07 f5  09 19012c`},
	{"NO", Vote{Round: goldenRound, Device: "d1", Reason: ReasonDiskFull, Counter: 1},
		`a8 01 01  02 50000102030405060708090a0b0c0d0e0f  03 02  04 MANIFEST  06 62 6431  07 f4  08 69 6469736b2d66756c6c  09 01`},
	{"COMMIT", Decision{goldenRound, filled(0xcc), Commit, noon, noon.Add(time.Hour), 10 * time.Minute, nil},
		`a9 01 01  02 50000102030405060708090a0b0c0d0e0f  03 02  04 MANIFEST  05 TARGETS  06 01  07 1a69a42a40  08 1a69a43850  09 190258`},
	{"COMMIT with approvals", Decision{Round: goldenRound, Targets: filled(0xcc), Verdict: Commit, Approvals: [][]byte{{1, 2}, {3}}},
		`a7 01 01  02 50000102030405060708090a0b0c0d0e0f  03 02  04 MANIFEST  05 TARGETS  06 01  0a 82 42 0102 41 03`},
	{"approval", Approval{goldenRound, filled(0xcc)},
		`a6 01 01  02 50000102030405060708090a0b0c0d0e0f  03 02  04 MANIFEST  05 TARGETS  06 01`},
	{"ABORT", Decision{Round: goldenRound, Targets: filled(0xcc), Verdict: Abort},
		`a6 01 01  02 50000102030405060708090a0b0c0d0e0f  03 02  04 MANIFEST  05 TARGETS  06 02`},
	{"HOLD", Brake{Campaign: goldenRound.Campaign, Sequence: 7, Hold: true},
		`a4 01 01  02 50000102030405060708090a0b0c0d0e0f  03 07  04 f5`},
	{"PAUSE", Brake{Campaign: goldenRound.Campaign, Sequence: 8, Hold: true, Pause: true},
		`a5 01 01  02 50000102030405060708090a0b0c0d0e0f  03 08  04 f5  05 f5`},
	{"seat", Seat{goldenRound.Campaign, "d1", 2},
		`a4 01 01  02 50000102030405060708090a0b0c0d0e0f  03 62 6431  04 02`},
	{"report", Report{goldenRound, "d1", StateRolledBack, ReasonHealth, 24},
		`a8 01 01  02 50000102030405060708090a0b0c0d0e0f  03 02  04 MANIFEST  05 62 6431  06 6b 726f6c6c65642d6261636b  07 66 6865616c7468  08 1818`},
	{"timestamp", Timestamp{noon}, `a2 01 01  02 1a69a42a40`},
}

// parse is the parser for the kind of message that like is.
func parse(like any, b []byte) (any, error) {
	switch like.(type) {
	case Vote:
		return ParseVote(b)
	case Decision:
		return parseDecision(b)
	case Brake:
		return parseBrake(b)
	case Report:
		return ParseReport(b)
	case Seat:
		return parseSeat(b)
	case Approval:
		return parseApproval(b)
	default:
		return parseTimestamp(b)
	}
}

func TestGoldenMessages(t *testing.T) {
	for _, g := range golden {
		want := unhex(g.hex)
		if got := g.message.Encode(); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", g.name, got, want)
			continue
		}
		got, err := parse(g.message, want)
		if err != nil || !reflect.DeepEqual(got, any(g.message)) {
			t.Errorf("%s: parsed %+v, %v; want %+v", g.name, got, err, g.message)
		}
		for n := range want {
			got, err := parse(g.message, want[:n])
			if !errors.Is(err, ErrMessage) || !reflect.ValueOf(got).IsZero() {
				t.Errorf("%s cut at %d: %+v, %v; want ErrMessage and nothing", g.name, n, got, err)
			}
		}
		if _, err := parse(g.message, append(want, 0)); !errors.Is(err, ErrMessage) {
			t.Errorf("%s with a byte more: %v", g.name, err)
		}
	}
}

func TestMessagesOutOfBounds(t *testing.T) {
	const head = `01 01  02 50000102030405060708090a0b0c0d0e0f  03 02  04 MANIFEST `
	cases := []struct {
		name string
		like any
		hex  string
	}{
		{"other format", Brake{}, `a4 01 02  02 50000102030405060708090a0b0c0d0e0f  03 07  04 f5`},
		{"unknown field", Brake{}, `a5 01 01  02 50000102030405060708090a0b0c0d0e0f  03 07  04 f5  05 01`},
		{"field twice", Brake{}, `a5 01 01  02 50000102030405060708090a0b0c0d0e0f  03 07  03 07  04 f5`},
		{"fields in other order", Brake{}, `a4 02 50000102030405060708090a0b0c0d0e0f  01 01  03 07  04 f5`},
		{"number longer than needed", Brake{}, `a4 01 01  02 50000102030405060708090a0b0c0d0e0f  03 1807  04 f5`},
		{"indefinite length", Brake{}, `bf 01 01  02 50000102030405060708090a0b0c0d0e0f  03 07  04 f5 ff`},
		{"tag", Brake{}, `c1 a4 01 01  02 50000102030405060708090a0b0c0d0e0f  03 07  04 f5`},
		{"short campaign id", Brake{}, `a4 01 01  02 4f000102030405060708090a0b0c0d0e  03 07  04 f5`},
		{"long campaign id", Brake{}, `a4 01 01  02 51000102030405060708090a0b0c0d0e0f10  03 07  04 f5`},
		{"brake without sequence", Brake{}, `a4 01 01  02 50000102030405060708090a0b0c0d0e0f  03 00  04 f5`},
		{"READY without roots", Vote{}, `a7` + head + `06 62 6431  07 f5  09 01`},
		{"NO with roots", Vote{}, `a9` + head + `05 81 ROOT  06 62 6431  07 f4  08 61 61  09 01`},
		{"NO without reason", Vote{}, `a7` + head + `06 62 6431  07 f4  09 01`},
		{"READY with reason", Vote{}, `a9` + head + `05 81 ROOT  06 62 6431  07 f5  08 61 61  09 01`},
		{"reason with control character", Vote{}, `a8` + head + `06 62 6431  07 f4  08 62 610a  09 01`},
		{"device name that is a path", Vote{}, `a8` + head + `05 81 ROOT  06 64 2e2e2f61  07 f5  09 01`},
		{"vote without counter", Vote{}, `a8` + head + `05 81 ROOT  06 62 6431  07 f5  09 00`},
		{"wave beyond 32 bits", Vote{}, `a8 01 01  02 50000102030405060708090a0b0c0d0e0f  03 1b0000000100000000  04 MANIFEST  05 81 ROOT  06 62 6431  07 f5  09 01`},
		{"no verdict", Decision{}, `a6` + head + `05 TARGETS  06 00`},
		{"third verdict", Decision{}, `a6` + head + `05 TARGETS  06 03`},
		{"not-after before not-before", Decision{}, `a8` + head + `05 TARGETS  06 01  07 1a69a42a40  08 1a69a42a3f`},
		{"spread from no instant", Decision{}, `a7` + head + `05 TARGETS  06 01  09 190258`},
		{"spread of 136 years", Decision{}, `a8` + head + `05 TARGETS  06 01  07 1a69a42a40  09 1affffffff`},
		{"time of overflow", Decision{}, `a7` + head + `05 TARGETS  06 01  07 1b7fffffffffffffff`},
		{"approval of ABORT", Approval{}, `a6` + head + `05 TARGETS  06 02`},
		{"ABORT with approvals", Decision{}, `a7` + head + `05 TARGETS  06 02  0a 81 41 01`},
		{"33 approvals", Decision{}, `a7` + head + `05 TARGETS  06 01  0a 9821` + strings.Repeat(" 40", 33)},
		{"report of no outcome", Report{}, `a7` + head + `05 62 6431  06 65 7265616479  08 01`},
		{"timestamp of overflow", Timestamp{}, `a2 01 01  02 1bffffffffffffffff`},
		{"timestamp zero", Timestamp{}, `a2 01 01  02 00`},
	}
	for _, c := range cases {
		if got, err := parse(c.like, unhex(c.hex)); !errors.Is(err, ErrMessage) || !reflect.ValueOf(got).IsZero() {
			t.Errorf("%s: parsed %+v, %v; want ErrMessage", c.name, got, err)
		}
	}
	if _, err := ParseVote(make([]byte, MaxMessage+1)); !errors.Is(err, ErrMessage) {
		t.Errorf("long message: %v", err)
	}
	largest := Vote{Round: goldenRound, Roots: make([]Digest, MaxRoots), Device: strings.Repeat("d", 64), Ready: true, Counter: 1 << 63}
	if got, err := ParseVote(largest.Encode()); err != nil || !reflect.DeepEqual(got, largest) {
		t.Errorf("vote for %d images: %v", MaxRoots, err)
	}
	largest.Roots = make([]Digest, MaxRoots+1)
	if _, err := ParseVote(largest.Encode()); !errors.Is(err, ErrMessage) {
		t.Errorf("vote for too many images: %v", err)
	}
}

func TestReasonsAreAFixedList(t *testing.T) {
	seen := map[Reason]bool{}
	for _, r := range Reasons() {
		if seen[r] || !r.wellFormed() || !r.Known() || r == ReasonNone {
			t.Errorf("reason %q: twice, not well-formed, or not known", r)
		}
		seen[r] = true
	}
	for _, r := range []Reason{"", "of-tomorrow"} {
		if r.Known() {
			t.Errorf("reason %q is known", r)
		}
	}
}

func FuzzMessages(f *testing.F) {
	for kind, g := range golden {
		f.Add(byte(kind), unhex(g.hex))
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		like := golden[int(kind)%len(golden)].message
		m, err := parse(like, b)
		if err != nil {
			if !errors.Is(err, ErrMessage) {
				t.Fatalf("%v is not ErrMessage", err)
			}
			return
		}
		// A message has one encoding.
		if again := m.(interface{ Encode() []byte }).Encode(); !bytes.Equal(again, b) {
			t.Fatalf("%x parses to %+v, which encodes to %x", b, m, again)
		}
	})
}

// FuzzRecords replays arbitrary bytes as records of both logs.
func FuzzRecords(f *testing.F) {
	p := Plan{Campaign: CampaignID{1}, Roots: []Digest{{1}}, Expect: 2, AllowUnsigned: true,
		Waves: []Policy{{Deadline: noon}, {ReadyTimeout: time.Hour, Success: 50, Soak: time.Hour}}}
	f.Add(p.records()[0], coordRecord{Target: &targetRecord{Device: "d1"}}.encode())
	f.Add(p.records()[0], coordRecord{Brake: &brakeRecord{1, true, ReasonOperator, true, noon.UnixNano()}}.encode())
	f.Add(p.records()[0], coordRecord{Wave: &waveRecord{0, true, noon.UnixNano()}}.encode())
	f.Add(p.records()[0], coordRecord{Approval: &approvalRecord{0, []byte("signed")}}.encode())
	f.Add(p.records()[0], coordRecord{Signed: &signedRecord{0, []byte("signed")}}.encode())
	f.Add(encode(participantState{Format: 1}), encode(participantState{Format: 1, Current: &currentRound{Phase: phaseReady}}))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var c Coordinator
		c.devices = map[string]*device{}
		c.keys = map[manifest.PublicKey]string{}
		for _, rec := range [][]byte{first, second} {
			if err := c.replay(rec); err != nil && !errors.Is(err, ErrRecord) {
				t.Fatalf("coordinator: %v is not ErrRecord", err)
			}
			if s, err := decodeParticipantState(rec); err == nil {
				if again := encode(s); !bytes.Equal(again, rec) {
					t.Fatalf("%x decodes to %+v, which encodes to %x", rec, s, again)
				}
			} else if !errors.Is(err, ErrRecord) {
				t.Fatalf("participant: %v is not ErrRecord", err)
			}
		}
	})
}
