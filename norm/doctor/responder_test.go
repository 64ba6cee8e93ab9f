package doctor

import (
	"net/netip"
	"testing"
	"time"
)

// A rig is a Responder in virtual time, with what it sends.
type rig struct {
	*Responder
	now  time.Time
	sent []sentTo
}

type sentTo struct {
	message
	size int
	to   netip.AddrPort
}

var (
	rigGroup = netip.MustParseAddrPort("239.1.2.3:6003")
	asker    = netip.MustParseAddrPort("192.0.2.7:6003")
)

func newRig(t *testing.T, rate float64) *rig {
	r := &rig{Responder: newResponder(ResponderConfig{Group: rigGroup, TTL: 1, Rate: rate}), now: time.Unix(1e9, 0)}
	r.send = func(b []byte, to netip.AddrPort, ttl int) error {
		s := sentTo{size: len(b), to: to}
		if err := s.parse(b); err != nil {
			t.Errorf("sent %x", b)
		}
		if to == rigGroup && int(s.ttl) != ttl {
			t.Errorf("stamped TTL %d, sent with %d", s.ttl, ttl)
		}
		r.sent = append(r.sent, s)
		return nil
	}
	return r
}

// from hands it a message of somebody.
func (r *rig) from(a netip.AddrPort, m message) {
	p := packet{from: a, own: m.via == byUnicast, b: m.append(nil, 0)}
	if m.via == byGroup {
		p.to = rigGroup.Addr()
	}
	r.handle(r.now, p)
}

// pass lets time pass, a millisecond at once.
func (r *rig) pass(d time.Duration) {
	for end := r.now.Add(d); r.now.Before(end); r.now = r.now.Add(time.Millisecond) {
		r.work(r.now)
	}
}

// probes counts those sent to the group, and their bytes.
func (r *rig) probes() (n, bytes int) {
	for _, s := range r.sent {
		if s.kind == probe {
			n++
			bytes += s.size
			if s.to != rigGroup {
				panic("a probe to " + s.to.String())
			}
		}
	}
	return n, bytes
}

// cookies asks a question and returns the cookies of the answers.
func (r *rig) cookies(a netip.AddrPort, run uint64) (group, unicast uint64) {
	r.from(a, message{kind: question, via: byGroup, ttl: 3, run: run, seq: 1})
	for _, s := range r.sent {
		if s.kind == answer && s.run == run && s.via == byGroup {
			group = s.cookie
		} else if s.kind == answer && s.run == run {
			unicast = s.cookie
		}
	}
	return group, unicast
}

// TestAnswerIsNoLongerThanTheQuestion sends the shortest question.
func TestAnswerIsNoLongerThanTheQuestion(t *testing.T) {
	r := newRig(t, 1e6)
	r.from(asker, message{kind: question, via: byUnicast, run: 1, seq: 1})
	if len(r.sent) != 2 {
		t.Fatalf("%d answers, want one to the group and one by unicast", len(r.sent))
	}
	for _, s := range r.sent {
		if s.to == asker && s.size > messageSize {
			t.Errorf("%d bytes by unicast for %d", s.size, messageSize)
		}
	}
}

func TestAnswerTellsWhatWasHeard(t *testing.T) {
	r := newRig(t, 1e6)
	for _, q := range []struct {
		message
		ttl     uint8
		unicast bool
	}{
		{message{kind: question, via: byGroup, ttl: 8, run: 1}, 8, false},
		{message{kind: question, via: byGroup, ttl: 2, run: 1}, 2, false},
		{message{kind: question, via: byUnicast, run: 1}, 2, true},
		{message{kind: question, via: byGroup, ttl: 4, run: 1}, 2, true},
		{message{kind: question, via: byUnicast, run: 2}, 0, true},
	} {
		r.from(asker, q.message)
		if got := r.sent[len(r.sent)-1]; got.heardTTL != q.ttl || got.heardUnicast != q.unicast {
			t.Errorf("after %+v: TTL %d, unicast %v; want %d, %v", q.message, got.heardTTL, got.heardUnicast, q.ttl, q.unicast)
		}
	}
}

// TestProbesNeedACookie asks without one, with another's, another run's, and with that of the unicast answer, for bursts.
func TestProbesNeedACookie(t *testing.T) {
	r := newRig(t, 10e6)
	group, unicast := r.cookies(asker, 1)
	stranger := netip.MustParseAddrPort("192.0.2.8:6003")
	r.cookies(stranger, 1)
	burst := message{kind: request, via: byUnicast, run: 1, seq: 2, count: 10, size: 1000, rate: 1000}
	for name, cookie := range map[string]uint64{"none": 0, "that of the unicast answer": unicast, "a wrong one": group + 1} {
		m := burst
		m.cookie = cookie
		r.from(asker, m)
		r.pass(time.Second)
		if n, _ := r.probes(); n != 0 {
			t.Errorf("%d probes for cookie %s", n, name)
		}
	}
	m := burst
	m.cookie = group
	r.from(stranger, m)
	r.pass(time.Second)
	if n, _ := r.probes(); n != 0 {
		t.Errorf("%d probes for another's cookie", n)
	}
	r.from(asker, m)
	r.from(asker, m) // by the other way, or replayed
	r.pass(time.Second)
	if n, _ := r.probes(); n != 10 {
		t.Errorf("%d probes, want 10", n)
	}
	r.sent = nil
	r.from(asker, message{kind: request, via: byUnicast, run: 1, seq: 3, cookie: unicast})
	r.pass(time.Second)
	if n, bytes := r.probes(); n != ladderTop || bytes != ladderTop*messageSize {
		t.Errorf("%d probes of rising TTL of %d bytes in all, want %d of %d each", n, bytes, ladderTop, messageSize)
	}
}

// TestRateIsNeverExceeded has a member of the group ask for the most there is, and strangers ask by forged addresses.
func TestRateIsNeverExceeded(t *testing.T) {
	const rate, seconds = 1e6, 4
	r := newRig(t, rate)
	group, _ := r.cookies(asker, 1)
	seq := uint32(1)
	for range seconds * 100 {
		for i := range 50 {
			seq++
			r.from(asker, message{kind: request, via: byUnicast, run: 1, seq: seq, cookie: group, count: 65535, size: maxProbe, rate: 1 << 31})
			forged := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(seq >> 8), byte(seq)}), 53)
			r.from(forged, message{kind: question, via: byUnicast, run: uint64(i), seq: seq})
		}
		r.pass(10 * time.Millisecond)
	}
	bytes := 0
	for _, s := range r.sent {
		bytes += s.size
	}
	if most := rate/8*seconds + 2*maxProbe; bytes == 0 || float64(bytes) > most {
		t.Errorf("%d bytes in %d s, want at most %.0f", bytes, seconds, most)
	}
	if len(r.sources) > maxSources || len(r.jobs) > maxWaiting {
		t.Errorf("%d sources and %d jobs kept", len(r.sources), len(r.jobs))
	}
}

// TestAttackProbeFlood has one source ask a thousand times in a second.
func TestAttackProbeFlood(t *testing.T) {
	r := newRig(t, 100e6)
	for i := range 1000 {
		r.from(asker, message{kind: question, via: byUnicast, run: 1, seq: uint32(i)})
		r.now = r.now.Add(time.Millisecond)
	}
	if r.answers > sourceBurst+sourceRate || r.answers < sourceBurst {
		t.Errorf("%d questions answered, want %d to %d", r.answers, sourceBurst, sourceBurst+sourceRate)
	}
}

// TestSilentSourcesMakeRoom fills the table.
func TestSilentSourcesMakeRoom(t *testing.T) {
	s, now := make(sources), time.Unix(1e9, 0)
	for i := range maxSources {
		s.admit(now, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
	}
	late := netip.MustParseAddr("192.0.2.1")
	if s.admit(now, late) != nil {
		t.Error("one more than there is room for")
	}
	if s.admit(now.Add(sourceIdle+time.Second), late) == nil {
		t.Error("no room when the others are silent")
	}
}
