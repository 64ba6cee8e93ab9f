package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

var (
	start = time.Unix(1_000_000, 0)
	key   = []byte("a group key of thirty-two bytes!")
)

// signer returns a fixed private key, so that vectors stay as they are.
func signer(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// pair returns the two ends of a session. Only the sender gets the private key.
func pair(t testing.TB, c Config) (tx, rx *Authenticator) {
	t.Helper()
	tx = must[*Authenticator](t)(NewSender(&c))
	if c.Signer != nil {
		c.Public, c.Signer = &c.Signer.PublicKey, nil
	}
	return tx, must[*Authenticator](t)(NewReceiver(&c))
}

func seal(t testing.TB, a *Authenticator, m wire.Message) []byte {
	t.Helper()
	b := must[[]byte](t)(m.AppendBinary(a.Room(nil)))
	if err := a.Seal(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// probe returns a NORM_CMD(CC) sent so long after the start.
func probe(instance wire.InstanceID, at time.Duration) *wire.CC {
	return &wire.CC{Header: wire.Header{Source: 1}, SenderHeader: wire.SenderHeader{Instance: instance},
		SendTime: wire.MakeTimestamp(start.Add(at)), Extensions: wire.AppendRate(nil, 7)}
}

func data(instance wire.InstanceID) *wire.Data {
	return &wire.Data{Header: wire.Header{Source: 1}, SenderHeader: wire.SenderHeader{Instance: instance},
		Position: wire.Position{FECID: wire.RS8}, Payload: []byte("payload")}
}

func nack(source wire.NodeID) *wire.Nack {
	return &wire.Nack{Header: wire.Header{Source: source}, FeedbackHeader: wire.FeedbackHeader{Server: 1}}
}

var schemes = []struct {
	name       string
	config     func(t testing.TB) Config
	hel        int // with anti-replay
	feedback   int
	mac, signs int // bytes
}{
	{"MAC", func(testing.TB) Config { return Config{Key: key} }, 6, 24, 16, 0},
	{"MAC of 256 bits", func(testing.TB) Config { return Config{Key: key, MACBits: 256} }, 10, 40, 32, 0},
	{"ECDSA", func(t testing.TB) Config { return Config{Signer: signer(t)} }, 18, 0, 0, 64},
	{"both", func(t testing.TB) Config { return Config{Key: key, Signer: signer(t)} }, 19, 24, 4, 64},
}

// TestTag computes the tag of a packet of each scheme by hand: over all of the packet, its field being zero.
func TestTag(t *testing.T) {
	for _, tt := range schemes {
		c := tt.config(t)
		tx, rx := pair(t, c)
		if got := c.SenderOverhead(); got != tx.Overhead() || got != 4*tt.hel {
			t.Errorf("%s: overhead %d and %d, want %d", tt.name, got, tx.Overhead(), 4*tt.hel)
		}
		if got := rx.Overhead(); got != tt.feedback {
			t.Errorf("%s: feedback grows by %d bytes, want %d", tt.name, got, tt.feedback)
		}
		pkt := seal(t, tx, probe(3, 0))
		plain := must[[]byte](t)(probe(3, 0).AppendBinary(nil))
		if want := len(plain) + 4*tt.hel; len(pkt) != want || int(pkt[1]) != want/4 {
			t.Fatalf("%s: %d bytes, hdr_len %d, want %d bytes", tt.name, len(pkt), pkt[1], want)
		}
		at := len(plain)
		ext, tag := pkt[at:at+8], bytes.Clone(pkt[at+8:])
		// A-3.3.2-01: the first packet carries 1. A-7.2-01: AR is set unasked.
		if want := []byte{1, byte(tt.hel), 0x11, 0, 0, 0, 0, 1}; !bytes.Equal(ext, want) {
			t.Errorf("%s: EXT_AUTH begins with %x, want %x", tt.name, ext, want)
		}
		zero := bytes.Clone(pkt)
		if tt.mac > 0 { // A-5.3.1-01, A-3.3.1-01: the n_m leftmost bits
			clear(zero[at+8+tt.signs:])
			derived := must[[]byte](t)(hkdf.Key(sha256.New, key, nil, "NORM EXT_AUTH sender", 32))
			mac := hmac.New(sha256.New, derived)
			mac.Write(zero)
			if want := mac.Sum(nil)[:tt.mac]; !bytes.Equal(tag[tt.signs:], want) {
				t.Errorf("%s: MAC %x, want %x", tt.name, tag[tt.signs:], want)
			}
		}
		if tt.signs > 0 { // A-4.3.1-01: r and s, 32 bytes each; A-6-01: the signature is made while both fields are zero
			clear(zero[at+8:])
			sum := sha256.Sum256(zero)
			r, s := new(big.Int).SetBytes(tag[:32]), new(big.Int).SetBytes(tag[32:64])
			if !ecdsa.Verify(&signer(t).PublicKey, sum[:], r, s) {
				t.Errorf("%s: the signature is not one of the packet", tt.name)
			}
		}
		if err := rx.Verify(start, pkt); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// TestVector fixes the bytes of a packet, for other implementations to compare.
func TestVector(t *testing.T) {
	tx, _ := pair(t, Config{Key: key})
	// v/type, hdr_len, sequence, source_id | instance, grtt, backoff/gsize | CC, reserved, cc_sequence | send_time |
	// EXT_RATE | het, hel, ASID/AR, SN | MAC
	want := strings.ReplaceAll("130d0000 00000001 00030000 04000000 000f4240 00000000 80000007 01061100 00000001 "+vectorMAC, " ", "")
	if got := hex.EncodeToString(seal(t, tx, probe(3, 0))); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

const vectorMAC = "fe7feae9f2101d6c28efd283a36c3a48"

// TestEveryBitCounts: header, extensions, number, payload and tag. A-3.3.1-01
func TestEveryBitCounts(t *testing.T) {
	for _, tt := range schemes {
		tx, rx := pair(t, tt.config(t))
		if err := rx.Verify(start, seal(t, tx, probe(3, 0))); err != nil {
			t.Fatal(err)
		}
		pkt := seal(t, tx, data(3))
		for bit := range 8 * len(pkt) {
			forged := bytes.Clone(pkt)
			forged[bit/8] ^= 1 << (bit % 8)
			before := bytes.Clone(forged)
			if rx.feedback.scheme == nil && forged[0]&0x0f > byte(wire.TypeCmd) {
				continue // feedback, which is not authenticated
			}
			if rx.Verify(start.Add(time.Duration(bit)*time.Second), forged) == nil {
				t.Errorf("%s: bit %d may be flipped", tt.name, bit)
			}
			if !bytes.Equal(before, forged) {
				t.Fatalf("%s: Verify wrote to the packet", tt.name)
			}
		}
		if err := rx.Verify(start, pkt); err != nil {
			t.Errorf("%s: after all forged ones the genuine one is refused: %v", tt.name, err)
		}
	}
}

// TestAttackForgedNumber: "the receiver cannot yet modify its local counter, because the integrity of the Sequence
// Number has not been verified at this point." RFC 6584, Section 3.3.2. A-3.3.2-02
func TestAttackForgedNumber(t *testing.T) {
	tx, rx := pair(t, Config{Key: key})
	rx.Verify(start, seal(t, tx, probe(3, 0)))
	early := seal(t, tx, data(3))
	tx.sequence += windowSize
	forged := seal(t, tx, data(3))
	forged[len(forged)-1] ^= 1
	if err := rx.Verify(start, forged); err != ErrTag {
		t.Errorf("forged: %v, want ErrTag", err)
	}
	if err := rx.Verify(start, early); err != nil {
		t.Errorf("the packet of number 2: %v", err)
	}
	if err := rx.Verify(start, early); err != ErrReplay { // a duplicate
		t.Errorf("the same again: %v, want ErrReplay", err)
	}
	tx.sequence += windowSize
	rx.Verify(start, seal(t, tx, data(3)))
	tx.sequence = 2
	if err := rx.Verify(start, seal(t, tx, data(3))); err != ErrReplay { // A-3.4-02
		t.Errorf("left of the window: %v, want ErrReplay", err)
	}
}

// TestRejectedBeforeCrypto: "thus avoiding the need for any cryptographic operations by the receiver". A-3.3.2-02
func TestRejectedBeforeCrypto(t *testing.T) {
	tx, rx := pair(t, Config{Key: key})
	first := seal(t, tx, probe(3, 0))
	rx.Verify(start, first)
	rx.sender.scheme = counting{rx.sender.scheme, new(int)}
	first[len(first)-1] ^= 1
	if err := rx.Verify(start, first); err != ErrReplay {
		t.Errorf("%v, want ErrReplay whatever the tag", err)
	}
	rx.Verify(start, must[[]byte](t)(data(3).AppendBinary(nil)))
	if n := *rx.sender.scheme.(counting).n; n != 0 {
		t.Errorf("%d tags were computed", n)
	}
}

// A counting scheme counts how often it checks a tag.
type counting struct {
	scheme
	n *int
}

func (c counting) open(packet []byte, at int) bool { *c.n++; return c.scheme.open(packet, at) }

// TestMACComesFirst: "the receiver first checks the Group-keyed MAC [...]. If the check fails, the packet MUST be
// immediately dropped." A-6-01
func TestMACComesFirst(t *testing.T) {
	tx, rx := pair(t, Config{Key: key, Signer: signer(t)})
	pkt := seal(t, tx, probe(3, 0))
	c := rx.sender.scheme.(combined)
	if 8*c.mac.size() != 32 { // A-6.3.1-01: the default, whatever the MAC of feedback has
		t.Errorf("n_m = %d", 8*c.mac.size())
	}
	c.signature.public = nil // to verify a signature would panic
	pkt[len(pkt)-1] ^= 1
	if err := rx.Verify(start, pkt); err != ErrTag {
		t.Errorf("wrong MAC: %v", err)
	}
	pkt[len(pkt)-1] ^= 1
	pkt[len(pkt)-5] ^= 1 // the MAC covers the signature
	if err := rx.Verify(start, pkt); err != ErrTag {
		t.Errorf("corrupted signature: %v", err)
	}
}

// TestAttackInsiderCannotSign: a member that knows the group key forges the MAC, but not the signature of the sender.
func TestAttackInsiderCannotSign(t *testing.T) {
	_, rx := pair(t, Config{Key: key, Signer: signer(t)})
	other := must[*ecdsa.PrivateKey](t)(ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{8}, 32)))
	insider, _ := pair(t, Config{Key: key, Signer: other})
	if err := rx.Verify(start, seal(t, insider, probe(3, 0))); err != ErrTag {
		t.Errorf("%v, want ErrTag", err)
	}
}

// TestAttackStrippedDoubledTruncated: "Each packet sent MUST contain exactly one Group-keyed MAC EXT_AUTH header extension. A receiver MUST
// drop packets that do not contain" it. A-3.4-01, A-3.4-02
func TestAttackStrippedDoubledTruncated(t *testing.T) {
	tx, rx := pair(t, Config{Key: key})
	sealed := seal(t, tx, probe(3, 0))
	var one wire.ExtAuth
	var m wire.CC
	m.Parse(sealed)
	for x := range m.Extensions.Auth() {
		one = x
	}
	for name, ext := range map[string][]wire.ExtAuth{
		"none": nil, "two": {one, one}, "another scheme's": {{ASID: 2, AntiReplay: true, Sequence: 1, Tag: one.Tag}},
		"no number": {{ASID: 1, Tag: one.Tag}}, "a short tag": {{ASID: 1, AntiReplay: true, Sequence: 1, Tag: one.Tag[:12]}},
		"a long tag": {{ASID: 1, AntiReplay: true, Sequence: 1, Tag: append(bytes.Clone(one.Tag), 0, 0, 0, 0)}},
	} {
		m := probe(3, 0)
		for _, x := range ext {
			m.Extensions = must[wire.Extensions](t)(wire.AppendAuth(m.Extensions, x))
		}
		if err := rx.Verify(start, must[[]byte](t)(m.AppendBinary(nil))); err != ErrMissing {
			t.Errorf("%s: %v, want ErrMissing", name, err)
		}
	}
	if err := rx.Verify(start, sealed); err != nil {
		t.Error(err)
	}
	// A-2-02: one of another scheme beside ours is ignored, though our tag covers it.
	m2 := probe(3, time.Second)
	m2.Extensions = must[wire.Extensions](t)(wire.AppendAuth(m2.Extensions, wire.ExtAuth{ASID: 9, Tag: []byte("tag of another")}))
	if err := rx.Verify(start, seal(t, tx, m2)); err != nil {
		t.Errorf("with another scheme beside it: %v", err)
	}
}

// TestAttackDirectionConfusion: feedback is no packet of a sender, and the other way round, although one group key protects both.
func TestAttackDirectionConfusion(t *testing.T) {
	tx, rx := pair(t, Config{Key: key})
	asSender := must[*Authenticator](t)(NewSender(&Config{Key: key}))
	if err := tx.Verify(start, seal(t, asSender, nack(5))); err != ErrTag {
		t.Errorf("feedback with the sender's key: %v, want ErrTag", err)
	}
	// Another node that has no more than the key of feedback.
	peer := must[*Authenticator](t)(NewReceiver(&Config{Key: key}))
	if err := rx.Verify(start, seal(t, peer, probe(3, 0))); err != ErrTag {
		t.Errorf("a probe with the key of feedback: %v, want ErrTag", err)
	}
	if err := tx.Verify(start, seal(t, rx, nack(5))); err != nil {
		t.Errorf("feedback: %v", err)
	}
}

// TestFeedbackWithoutKey: where only the sender signs, feedback is taken as it comes.
func TestFeedbackWithoutKey(t *testing.T) {
	tx, rx := pair(t, Config{Signer: signer(t)})
	if err := tx.Verify(start, seal(t, rx, nack(5))); err != nil {
		t.Error(err)
	}
}

// TestRuns: a sender that starts again counts from 1 again, under another instance_id. N-7-04
func TestRuns(t *testing.T) {
	tx, rx := pair(t, Config{Key: key})
	var old [][]byte
	old = append(old, seal(t, tx, probe(3, 0)), seal(t, tx, data(3)), seal(t, tx, probe(3, time.Second)))
	if err := rx.Verify(start, old[1]); err != ErrRun {
		t.Errorf("data before any probe: %v, want ErrRun", err)
	}
	for _, pkt := range old {
		if err := rx.Verify(start, pkt); err != nil {
			t.Fatal(err)
		}
	}
	again, _ := pair(t, Config{Key: key})
	early := seal(t, again, data(4))
	if err := rx.Verify(start, early); err != ErrRun {
		t.Errorf("data of the new run before its probe: %v, want ErrRun", err)
	}
	if err := rx.Verify(start, seal(t, again, probe(4, 2*time.Second))); err != nil {
		t.Errorf("the new run: %v", err)
	}
	if err := rx.Verify(start, early); err != nil {
		t.Errorf("its data, overtaken by the probe: %v", err)
	}
	for i, pkt := range old { // N-7-04: authentic packets of one session are no good in another
		if err := rx.Verify(start, pkt); err != ErrRun && err != ErrReplay {
			t.Errorf("packet %d of the run before: %v", i, err)
		}
	}
	if err := rx.Verify(start, seal(t, again, data(4))); err != nil {
		t.Errorf("after the replays the new run goes on: %v", err)
	}
}

// TestAttackWrap: all 40 bits count, and the counter does not cycle. A-3.3.2-01
func TestAttackWrap(t *testing.T) {
	tx, rx := pair(t, Config{Key: key})
	rx.Verify(start, seal(t, tx, probe(3, 0)))
	tx.sequence = 1<<32 - 1
	high := seal(t, tx, data(3)) // 2^32: its lower 32 bits are zero
	if err := rx.Verify(start, high); err != nil {
		t.Error(err)
	}
	tx.sequence = maxSequence - 1
	if err := rx.Verify(start, seal(t, tx, data(3))); err != nil {
		t.Error(err)
	}
	if err := rx.Verify(start, high); err != ErrReplay {
		t.Errorf("%v, want ErrReplay", err)
	}
	if err := tx.Seal(must[[]byte](t)(data(3).AppendBinary(tx.Room(nil)))); err != ErrExhausted {
		t.Errorf("beyond 2^40-1: %v, want ErrExhausted", err)
	}
}

// TestNodesAreBounded: a thousand members with keys do not take more memory than is set, and those heard of last stay known.
func TestNodesAreBounded(t *testing.T) {
	rx := must[*Authenticator](t)(NewReceiver(&Config{Key: key, MaxNodes: 100}))
	var last []byte
	for id := wire.NodeID(1); id <= 1000; id++ {
		peer := must[*Authenticator](t)(NewReceiver(&Config{Key: key}))
		last = seal(t, peer, nack(id))
		if err := rx.Verify(start, last); err != nil {
			t.Fatal(err)
		}
		if n := len(rx.feedback.nodes.young) + len(rx.feedback.nodes.old); n > 100 {
			t.Fatalf("%d nodes are kept", n)
		}
	}
	if err := rx.Verify(start, last); err != ErrReplay {
		t.Errorf("the last one again: %v, want ErrReplay", err)
	}
}

// TestForgets: windows are per source and forgotten after idle time, so that a table does not fill for ever. N-7-07, B-5-05
func TestForgets(t *testing.T) {
	rx := must[*Authenticator](t)(NewReceiver(&Config{Key: key, Forget: time.Minute}))
	a, b := must[*Authenticator](t)(NewReceiver(&Config{Key: key})), must[*Authenticator](t)(NewReceiver(&Config{Key: key}))
	pkt, other := seal(t, a, nack(5)), seal(t, b, nack(6))
	rx.Verify(start, other)
	if err := rx.Verify(start, pkt); err != nil { // the same number of another node
		t.Fatal(err)
	}
	for at := time.Duration(0); at < time.Minute; at += 10 * time.Second {
		if err := rx.Verify(start.Add(at), pkt); err != ErrReplay {
			t.Errorf("after %v: %v, want ErrReplay", at, err)
		}
	}
	rx.Verify(start.Add(time.Hour), seal(t, b, nack(6)))
	if n := len(rx.feedback.nodes.young) + len(rx.feedback.nodes.old); n != 1 {
		t.Errorf("%d nodes are remembered after an hour, want the one heard", n)
	}
}

// TestAttackFlood: RFC 6584, Section 7.1. A-7.1-01
func TestAttackFlood(t *testing.T) {
	tx, rx := pair(t, Config{Signer: signer(t)})
	rx.Verify(start, seal(t, tx, probe(3, 0)))
	count := counting{rx.sender.scheme, new(int)}
	rx.sender.scheme = count
	forged := seal(t, tx, data(3))
	forged[len(forged)-1] ^= 1
	for range 100_000 {
		rx.Verify(start, forged)
	}
	if *count.n < 200 || *count.n > 400 {
		t.Errorf("%d of 100,000 forged packets were checked, want 200 to 400", *count.n)
	}
	genuine := seal(t, tx, data(3))
	if err := rx.Verify(start, genuine); err != ErrLimited {
		t.Errorf("in the same second: %v, want ErrLimited", err)
	}
	if err := rx.Verify(start.Add(time.Second), genuine); err != nil {
		t.Errorf("in the next second: %v", err)
	}
}

// TestConfig: A-5.2-02, A-5.2-01 (n_m), A-3.2-02: what must be agreed on is asked for.
func TestConfig(t *testing.T) {
	other := must[*ecdsa.PrivateKey](t)(ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{8}, 32)))
	p384 := must[*ecdsa.PrivateKey](t)(ecdsa.ParseRawPrivateKey(elliptic.P384(), bytes.Repeat([]byte{8}, 48)))
	for want, c := range map[string]Config{
		"want a Key":                     {},
		"MACBits 64":                     {Key: key, MACBits: 64},
		"MACBits 96":                     {Key: key, MACBits: 96}, // less than half the length of the hash
		"MACBits 130":                    {Key: key, MACBits: 130},
		"MACBits 288":                    {Key: bytes.Repeat(key, 2), MACBits: 288},
		"Key of 15 bytes":                {Key: key[:15]},
		"Key of 0 bytes":                 {Key: []byte{}},
		"Key of 16 bytes":                {Key: key[:16], MACBits: 160},
		"want a key of the curve P-256":  {Public: &p384.PublicKey},
		"do not belong together":         {Signer: other, Public: &signer(t).PublicKey},
		"ASID 16":                        {Key: key, ASID: 16},
		"MaxNodes -1":                    {Key: key, MaxNodes: -1},
		"Forget -1s":                     {Key: key, Forget: -time.Second},
		"MaxFailures -1":                 {Key: key, MaxFailures: -1},
		"a sender needs the private key": {Public: &other.PublicKey},
	} {
		if _, err := NewSender(&c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
	if a, err := NewReceiver(nil); a != nil || err != nil || a.Overhead() != 0 || a.Verify(start, nil) != nil || a.Seal(nil) != nil {
		t.Errorf("no configuration: %v, %v, want one that does nothing", a, err)
	}
}

// TestASID: the association of ASID and scheme is the session's. A-2-01
func TestASID(t *testing.T) {
	tx, rx := pair(t, Config{Key: key, Signer: signer(t), ASID: 15})
	pkt := seal(t, tx, probe(3, 0))
	if got := pkt[len(pkt)-76+2] >> 4; got != 15 {
		t.Errorf("ASID %d of the sender, want 15", got)
	}
	answer := seal(t, rx, nack(5))
	if got := answer[len(answer)-24+2] >> 4; got != 1 {
		t.Errorf("ASID %d of feedback under another scheme, want the next one, 1", got)
	}
	if err := errors.Join(rx.Verify(start, pkt), tx.Verify(start, answer)); err != nil {
		t.Error(err)
	}
	_, elsewhere := pair(t, Config{Key: key, Signer: signer(t), ASID: 2})
	if err := elsewhere.Verify(start, pkt); err != ErrMissing {
		t.Errorf("in a session with another mapping: %v, want ErrMissing", err)
	}
}

// TestMACCostsNoAllocation holds it for sealing and verifying.
func TestMACCostsNoAllocation(t *testing.T) {
	tx, rx := pair(t, Config{Key: key})
	rx.Verify(start, seal(t, tx, probe(3, 0)))
	m, buf, failed := data(3), make([]byte, 0, 2000), 0
	if n := testing.AllocsPerRun(1000, func() {
		b, _ := m.AppendBinary(tx.Room(buf))
		if tx.Seal(b) != nil || rx.Verify(start, b) != nil || rx.Verify(start, b) != ErrReplay {
			failed++
		}
	}); n != 0 || failed > 0 {
		t.Errorf("%v allocations for a segment, %d failed", n, failed)
	}
}
