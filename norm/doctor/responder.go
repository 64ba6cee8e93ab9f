package doctor

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/norm/udp"
)

const (
	beaconEvery = 500 * time.Millisecond
	ladderTop   = 32   // the greatest TTL tried
	maxProbe    = 9000 // the greatest UDP payload sent on request, in bytes
)

// A ResponderConfig says where a Responder answers. Group is required.
type ResponderConfig struct {
	Group     netip.AddrPort
	Interface string     // as in udp.Config
	Source    netip.Addr // as in udp.Config: the group is not joined
	TTL       int        // of what is sent to the group; if zero, 1
	Rate      float64    // bound on all that is sent, in bits per second; if zero, 10 Mbit/s
}

// DefaultRate is the rate of a Responder, and the one up to which Examine looks for loss, in bits per second.
const DefaultRate = 10e6

// A Responder answers receivers that examine their network.
type Responder struct {
	config  ResponderConfig
	ifi     *net.Interface
	group   *conn                                            // hears the group, and its port
	out     *conn                                            // sends, and hears its own port
	send    func(b []byte, to netip.AddrPort, ttl int) error // by out
	key     [32]byte
	sources sources
	spent   bucket // bytes
	jobs    []job
	answers int
}

// A job is a request that is granted.
type job struct {
	message
	sent int
	next time.Time
}

// OpenResponder opens the sockets.
func OpenResponder(c ResponderConfig) (*Responder, error) {
	if c.TTL == 0 {
		c.TTL = 1
	}
	if c.Rate == 0 {
		c.Rate = DefaultRate
	}
	if c.TTL < 1 || c.TTL > 255 {
		return nil, fmt.Errorf("doctor: TTL %d: want 1 to 255", c.TTL)
	}
	if !c.Group.Addr().IsMulticast() {
		return nil, fmt.Errorf("doctor: %v is no multicast group", c.Group)
	}
	ifi, err := place(c.Group, c.Interface)
	if err != nil {
		return nil, err
	}
	c.Group = netip.AddrPortFrom(c.Group.Addr().WithZone(""), c.Group.Port())
	r := newResponder(c)
	r.ifi = ifi
	if r.group, err = listen(c.Group, ifi); err != nil {
		return nil, err
	}
	if !c.Source.IsValid() && !udp.IsSourceSpecific(c.Group.Addr()) {
		if err := r.group.join(ifi, c.Group.Addr(), netip.Addr{}); err != nil {
			r.Close()
			return nil, fmt.Errorf("doctor: joining %v on %s: %w", c.Group.Addr(), ifi.Name, err)
		}
	}
	from := c.Source
	if !from.IsValid() {
		from = wildcard(c.Group.Addr())
		if _, a, err := udp.InterfaceFor(c.Interface); err == nil && a.IsValid() {
			from = a
		}
	}
	if r.out, err = listen(netip.AddrPortFrom(from, 0), ifi); err != nil {
		r.Close()
		return nil, err
	}
	r.send = r.out.send
	return r, nil
}

// newResponder returns a Responder without sockets.
func newResponder(c ResponderConfig) *Responder {
	r := &Responder{config: c, sources: make(sources)}
	rand.Read(r.key[:]) // never fails
	r.spent = bucket{capacity: max(c.Rate/8/20, 2*maxProbe), perSecond: c.Rate / 8}
	return r
}

// Interface is where the Responder answers.
func (r *Responder) Interface() *net.Interface { return r.ifi }

// Addr is where the Responder is asked by unicast, at the group's port; the zero value if it is not known.
func (r *Responder) Addr() netip.Addr {
	if r.config.Source.IsValid() {
		return r.config.Source
	}
	for _, a := range family(r.ifi, r.config.Group.Addr()) {
		if !a.IsLinkLocalUnicast() {
			return a
		}
	}
	return netip.Addr{}
}

// TTL is that of what is sent to the group.
func (r *Responder) TTL() int { return r.config.TTL }

// Answers is how many questions were answered. It may be called when Run has returned.
func (r *Responder) Answers() int { return r.answers }

// Close closes the sockets.
func (r *Responder) Close() {
	for _, c := range []*conn{r.group, r.out} {
		if c != nil {
			c.close()
		}
	}
}

// Run answers until ctx ends.
func (r *Responder) Run(ctx context.Context) {
	in := make(chan packet, 256)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go r.group.read(ctx, in)
	go r.out.read(ctx, in)
	var beaconAt time.Time
	for ctx.Err() == nil {
		now := time.Now()
		if !now.Before(beaconAt) {
			beaconAt = now.Add(beaconEvery)
			r.toGroup(now, message{kind: beacon, ttl: uint8(r.config.TTL)}, messageSize)
		}
		wake := beaconAt
		if next := r.work(now); !next.IsZero() && next.Before(wake) {
			wake = next
		}
		timer := time.NewTimer(time.Until(wake))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case p := <-in:
			r.handle(time.Now(), p)
		}
		timer.Stop()
	}
}

// handle takes a datagram.
func (r *Responder) handle(now time.Time, p packet) {
	var m message
	if m.parse(p.b) != nil || m.kind != question && m.kind != request {
		return
	}
	if m.via == byGroup && p.to.IsValid() && p.to != r.config.Group.Addr() {
		return
	}
	s := r.sources.admit(now, p.from.Addr())
	if s == nil {
		return
	}
	switch m.kind {
	case question:
		r.answer(now, p, &m, s)
	case request:
		r.enqueue(now, p.from, &m, s)
	}
}

// answer answers a question, by both ways. Unicast feedback goes to the port that the sender sends from, so a question by
// unicast to the session's port is answered and does not count as heard.
func (r *Responder) answer(now time.Time, p packet, m *message, s *source) {
	from := p.from
	if s.run != m.run {
		s.run, s.asked, s.heardTTL, s.heardUnicast = m.run, 0, 0, false
	}
	switch {
	case m.via == byUnicast:
		s.heardUnicast = s.heardUnicast || p.own
	case s.heardTTL == 0 || m.ttl < s.heardTTL:
		s.heardTTL = m.ttl
	}
	r.answers++
	a := message{kind: answer, ttl: uint8(r.config.TTL), run: m.run, seq: m.seq, heardTTL: s.heardTTL, heardUnicast: s.heardUnicast}
	a.cookie = r.cookie(byGroup, from.Addr(), m.run)
	r.toGroup(now, a, messageSize)
	a.via, a.cookie = byUnicast, r.cookie(byUnicast, from.Addr(), m.run)
	if b := a.append(nil, 0); r.spent.take(now, float64(len(b))) {
		r.send(b, from, 0) // an answer that is lost is asked for again
	}
}

// cookie is what a request has to bring that comes from an address which got an answer.
func (r *Responder) cookie(v via, from netip.Addr, run uint64) uint64 {
	mac := hmac.New(sha256.New, r.key[:])
	mac.Write([]byte{byte(v)})
	mac.Write(binary.BigEndian.AppendUint64(nil, run))
	a := from.As16()
	mac.Write(a[:])
	return binary.BigEndian.Uint64(mac.Sum(nil))
}

// enqueue grants a request that may be granted, once: it comes by unicast and by the group.
func (r *Responder) enqueue(now time.Time, from netip.AddrPort, m *message, s *source) {
	if m.run != s.run || m.seq <= s.asked {
		return
	}
	member := m.cookie == r.cookie(byGroup, from.Addr(), m.run)
	switch {
	case len(r.jobs) >= maxWaiting:
	case m.count == 0 && (member || m.cookie == r.cookie(byUnicast, from.Addr(), m.run)):
		s.asked = m.seq
		r.jobs = append(r.jobs, job{message: *m, next: now})
	case m.count > 0 && member && m.size >= messageSize && m.size <= maxProbe && m.rate > 0:
		s.asked = m.seq
		m.rate = min(m.rate, uint32(max(r.config.Rate/1000, 1)))
		m.count = min(m.count, maxProbes(m.rate, m.size))
		r.jobs = append(r.jobs, job{message: *m, next: now})
	}
}

// maxProbes is how many probes there are in a burst of full length, at least two.
func maxProbes(kbits uint32, size uint16) uint16 {
	return uint16(min(max(float64(kbits)*125*burstDuration.Seconds()/float64(size), 2), 1<<15))
}

// work sends what is due of the first job, and returns when more will be; zero: there is no more.
func (r *Responder) work(now time.Time) time.Time {
	for len(r.jobs) > 0 {
		j := &r.jobs[0]
		last, size, ttl := int(j.count), int(j.size), r.config.TTL
		if j.count == 0 {
			last, size, ttl = ladderTop, messageSize, j.sent+1
		}
		if j.sent >= last {
			r.jobs = r.jobs[1:]
			continue
		}
		if now.Before(j.next) {
			return j.next
		}
		p := message{kind: probe, ttl: uint8(ttl), run: j.run, seq: j.seq, rate: j.rate, count: j.count, size: j.size}
		if !r.toGroup(now, p, size) {
			return now.Add(time.Millisecond) // its rate is spent
		}
		j.sent++
		gap := time.Millisecond
		if j.count > 0 {
			gap = time.Duration(float64(size) * 8 / (float64(j.rate) * 1000) * float64(time.Second))
		}
		if j.next = j.next.Add(gap); now.Sub(j.next) > 10*time.Millisecond {
			j.next = now // no catching up after a stall
		}
	}
	return time.Time{}
}

// toGroup sends a message to the group, unless the rate is spent. An error, of a datagram too long for the link above
// all, is what the receiver finds by hearing nothing.
func (r *Responder) toGroup(now time.Time, m message, size int) bool {
	m.via = byGroup
	if !r.spent.take(now, float64(size)) {
		return false
	}
	r.send(m.append(nil, size), r.config.Group, int(m.ttl))
	return true
}
