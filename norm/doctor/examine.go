package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/norm/udp"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// A Config says what to examine. Group is required.
type Config struct {
	Group       netip.AddrPort
	Interface   string        // as in udp.Config
	Source      netip.Addr    // as in udp.Config: a source-specific join
	Sender      netip.Addr    // asked by unicast as well; if zero, Source
	TTL         int           // of our feedback to the group; if zero, 1
	SegmentSize int           // that NORM shall use, in bytes; if zero, 1400
	Rate        float64       // that NORM shall use, in bits per second; if zero, DefaultRate
	Patience    time.Duration // how long to look for the other side; if zero, 10 s
	// UnicastFeedback is whether NORM shall send requests to the sender itself: those to the group do not matter then.
	UnicastFeedback bool
	// Expect is whether a Responder is known to run: not to hear it is a fault.
	Expect bool

	Long     time.Duration // how long to watch whether reception goes on; zero: not at all
	Progress func(string)  // told what is being done; may be nil
}

// Measurable reports whether it can be examined if segments of a size, in bytes, pass.
func Measurable(segmentSize int) bool { return segmentSize >= 28 && segmentSize+headerRoom <= maxProbe }

// headerRoom is what NORM adds to a segment at most: NORM_DATA's header, fec_payload_id and EXT_FTI.
const headerRoom = 40

// Times of an examination.
const (
	askEvery    = 250 * time.Millisecond
	settle      = 1500 * time.Millisecond // after the first sign of the other side, for both ways to show
	probeWait   = 400 * time.Millisecond  // for a probe asked for
	queryWait   = 2500 * time.Millisecond // a querier asks for other members of a group within two seconds
	deadSilence = 7 * beaconEvery         // reception has ended
)

// An examination is one run of Examine. One goroutine owns it.
type examination struct {
	observed
	conn *conn
	tap  *tap
	in   chan packet
	run  uint64
	seq  uint32

	bursts map[uint32]rung // what came, by the sequence of the request
}

// Examine finds out why multicast does or does not work from here. The error says that it could not begin; Config.Interface and
// Config.Group are wrong then.
func Examine(ctx context.Context, c Config) (*Report, error) {
	c.Sender = cmp.Or(c.Sender, c.Source)
	c.TTL = cmp.Or(c.TTL, 1)
	c.SegmentSize = cmp.Or(c.SegmentSize, 1400)
	c.Rate = cmp.Or(c.Rate, DefaultRate)
	c.Patience = cmp.Or(c.Patience, 10*time.Second)
	if c.Progress == nil {
		c.Progress = func(string) {}
	}
	switch {
	case !c.Group.Addr().IsMulticast():
		return nil, fmt.Errorf("doctor: %v is no multicast group", c.Group)
	case c.TTL < 1 || c.TTL > 255:
		return nil, fmt.Errorf("doctor: TTL %d: want 1 to 255", c.TTL)
	case !Measurable(c.SegmentSize):
		return nil, fmt.Errorf("doctor: segment size %d: want 28 to %d bytes", c.SegmentSize, maxProbe-headerRoom)
	}
	for _, a := range []netip.Addr{c.Source, c.Sender} {
		if a.IsValid() && a.Is4() != c.Group.Addr().Is4() {
			return nil, fmt.Errorf("doctor: sender %v and group %v are not of one IP version", a, c.Group)
		}
	}
	ifi, err := place(c.Group, c.Interface)
	if err != nil {
		return nil, err
	}
	c.Group = netip.AddrPortFrom(c.Group.Addr().WithZone(""), c.Group.Port())
	e := &examination{in: make(chan packet, 4096), run: rand.Uint64() | 1, bursts: make(map[uint32]rung)}
	e.observed = observed{
		config: c, ifi: ifi, hops: -1, elsewhere: make(map[int]int),
		nodes: make(map[wire.NodeID]map[netip.Addr]bool), strangers: make(map[netip.Addr]int),
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := e.open(ctx); err != nil {
		return nil, err
	}
	defer e.close()
	for _, step := range []func(context.Context){e.find, e.lookElsewhere, e.climb, e.measureSizes, e.measureRates, e.joinSource, e.provokeQuery, e.watch} {
		if step(ctx); ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	e.listened = time.Since(e.joined)
	e.lookBack()
	return e.judge(), nil
}

// open joins the group and looks at this host.
func (e *examination) open(ctx context.Context) (err error) {
	c := e.config
	e.addrs = family(e.ifi, c.Group.Addr())
	e.picked, _, e.pickedErr = routed(c.Group)
	if e.conn, err = listen(c.Group, e.ifi); err != nil {
		return err
	}
	e.noFragment = e.conn.noFragment
	if e.joinErr = e.conn.join(e.ifi, c.Group.Addr(), c.Source); e.joinErr == nil {
		e.tryJoin()
	}
	e.joined = time.Now()
	if e.tap, e.tapErr = openTap(e.ifi, c.Group); e.tapErr == nil {
		go e.tap.read(ctx, e.in)
	}
	go e.conn.read(ctx, e.in)
	return nil
}

func (e *examination) close() {
	e.conn.close()
	if e.tap != nil {
		e.tap.close()
	}
}

// tryJoin opens the socket that NORM would.
func (e *examination) tryJoin() {
	c, err := udp.Open(udp.Config{Group: e.config.Group, Interface: e.ifi.Name, Source: e.config.Source})
	if err != nil {
		e.joinErr = err
		return
	}
	b := c.Stats().ReadBuffer
	e.bufferAsked, e.buffer = b.Asked, b.Granted
	c.Close()
}

// listen takes what arrives until a time or until enough reports true.
func (e *examination) listen(ctx context.Context, until time.Time, enough func() bool) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	for enough == nil || !enough() {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case p := <-e.in:
			e.handle(time.Now(), p)
		}
	}
}

// handle takes a packet.
func (e *examination) handle(now time.Time, p packet) {
	if p.query != nil {
		if len(e.queries) < maxKnown {
			e.queries = append(e.queries, *p.query)
		}
		return
	}
	if p.to.IsMulticast() && p.to != e.config.Group.Addr() {
		return // of other groups on this port
	}
	var m message
	if m.parse(p.b) != nil {
		if !p.tapped && (p.ifindex == 0 || p.ifindex == e.ifi.Index) {
			e.note(p)
		} else if _, err := wire.Peek(p.b); err == nil {
			e.groupTapped++
		}
		return
	}
	if m.kind == question || m.kind == request || m.run != 0 && m.run != e.run {
		return // other examinations
	}
	group := m.via == byGroup
	climbing := m.kind == probe && m.count == 0 // not sent as NORM is
	switch {
	case p.tapped && m.kind == probe:
		return
	case p.tapped:
		e.groupTapped++ // and it tells what it tells, even if it is dropped then
	case group && p.to.IsValid() && !p.to.IsMulticast():
		return
	case group && p.ifindex != 0 && p.ifindex != e.ifi.Index:
		e.elsewhere[p.ifindex]++
		return
	}
	e.meet(p.from, &m)
	if group && !p.tapped && !climbing {
		e.groupHeard++
		e.lastGroup = now
		if p.ttl > 0 && int(m.ttl) >= p.ttl {
			e.hops = int(m.ttl) - p.ttl
		}
	}
	switch m.kind {
	case answer:
		e.answered = true
		e.heardUnicast = e.heardUnicast || m.heardUnicast
		if t := int(m.heardTTL); t > 0 && (e.heardTTL == 0 || t < e.heardTTL) {
			e.heardTTL = t
		}
		if group {
			e.cookieGroup = m.cookie
		} else {
			e.cookie = m.cookie
		}
	case probe:
		if _, asked := e.bursts[m.seq]; asked {
			e.bursts[m.seq] = rung{m.rate, int(m.count), e.bursts[m.seq].came + 1}
		}
		if climbing && (e.ladder == 0 || int(m.ttl) < e.ladder) {
			e.ladder = int(m.ttl)
		}
	}
}

// meet takes note of the other side; the first one heard is it.
func (e *examination) meet(from netip.AddrPort, m *message) {
	if !e.responder.IsValid() {
		e.responder = from
	}
	if e.responder == from && m.kind != probe {
		e.senderTTL = int(m.ttl)
	}
}

// ask sends a question, to the group and by unicast as far as an address is known.
func (e *examination) ask(ttl int) {
	e.seq++
	q := message{kind: question, via: byGroup, ttl: uint8(ttl), run: e.run, seq: e.seq}
	e.conn.send(q.append(nil, 0), e.config.Group, ttl) // what cannot be sent is not heard
	q.via = byUnicast
	switch {
	case e.responder.IsValid():
		e.conn.send(q.append(nil, 0), e.responder, 0)
	case e.config.Sender.IsValid():
		e.conn.send(q.append(nil, 0), netip.AddrPortFrom(e.config.Sender, e.config.Group.Port()), 0)
	}
}

// demand sends a request, to where the other side listens.
func (e *examination) demand(m message) (seq uint32) {
	e.seq++
	m.kind, m.via, m.run, m.seq = request, byUnicast, e.run, e.seq
	if m.cookie = e.cookieGroup; m.cookie == 0 {
		m.cookie = e.cookie
	}
	e.bursts[e.seq] = rung{}
	e.conn.send(m.append(nil, 0), e.responder, 0)
	m.via, m.ttl = byGroup, uint8(max(e.config.TTL, e.heardTTL))
	e.conn.send(m.append(nil, 0), e.config.Group, int(m.ttl)) // where unicast is blocked
	return e.seq
}

// find looks for the other side: with our TTL first, then with rising ones, which tells what TTL feedback needs.
func (e *examination) find(ctx context.Context) {
	e.config.Progress("looking for the sender")
	began := time.Now()
	var met time.Time
	for try := 0; ; try++ {
		now := time.Now()
		if e.responder.IsValid() && met.IsZero() {
			met = now
		}
		if done := e.groupHeard > 0 && e.heardTTL > 0 && e.heardUnicast; done ||
			now.Sub(began) > e.config.Patience || !met.IsZero() && now.Sub(met) > settle {
			return
		}
		ttl := e.config.TTL
		if try >= 2 {
			ttl = max(ttl, 1<<(try%6)) // 1 to 32
		}
		e.ask(ttl)
		e.listen(ctx, now.Add(askEvery), nil)
		if ctx.Err() != nil {
			return
		}
	}
}

// lookElsewhere joins the group on the other interfaces where it does not come by ours.
func (e *examination) lookElsewhere(ctx context.Context) {
	if e.groupHeard > 0 || e.groupTapped > 0 || e.norm > 0 {
		return
	}
	joined := false
	all, _ := net.Interfaces() // none: then it does not come there
	for _, ifi := range all {
		const want = net.FlagUp | net.FlagMulticast
		if ifi.Index != e.ifi.Index && ifi.Flags&want == want && ifi.Flags&net.FlagLoopback == 0 {
			joined = e.conn.join(&ifi, e.config.Group.Addr(), e.config.Source) == nil || joined
		}
	}
	if joined {
		e.config.Progress("listening on the other interfaces")
		e.listen(ctx, time.Now().Add(4*beaconEvery), func() bool { return len(e.elsewhere) > 0 })
	}
}

// climb asks for probes of rising TTL where the group does not reach us and the sender can be asked.
func (e *examination) climb(ctx context.Context) {
	if e.groupHeard > 0 || e.groupTapped > 0 || len(e.elsewhere) > 0 || e.cookie == 0 {
		return
	}
	e.config.Progress("asking for a greater TTL")
	for range 3 {
		e.demand(message{})
		e.listen(ctx, time.Now().Add(probeWait), nil)
	}
	e.laddered = true
}

// joinSource joins (sender, group) by a socket of its own and listens.
func (e *examination) joinSource(ctx context.Context) {
	if e.groupHeard == 0 || e.config.Source.IsValid() {
		return
	}
	e.ssmDone = true
	c, err := udp.Open(udp.Config{Group: e.config.Group, Interface: e.ifi.Name, Source: e.responder.Addr().WithZone("")})
	if err != nil {
		e.ssmErr = err
		return
	}
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		msgs := make([]udp.Message, 1)
		for {
			if _, err := c.ReadBatch(msgs); err != nil {
				return
			}
			if msgs[0].To.Addr() == e.config.Group.Addr() {
				return
			}
		}
	}()
	e.listen(ctx, time.Now().Add(4*beaconEvery), func() bool {
		select {
		case <-heard:
			e.ssm = true
		default:
		}
		return e.ssm
	})
	c.Close()
	<-heard
}

// provokeQuery joins a group that nobody uses and leaves it: "When a Querier receives a Leave Group message for a group that has
// group members on the reception interface, it sends [...] Group-Specific Queries" (RFC 2236, Section 3; with version 3, RFC 9776, Section 6.4.2).
func (e *examination) provokeQuery(ctx context.Context) {
	if e.tap == nil {
		return
	}
	some := func() bool { return len(e.queries) > 0 }
	if !some() {
		e.config.Progress("listening for queries for members")
		group := netip.AddrFrom4([4]byte{239, 255, byte(rand.IntN(256)), byte(1 + rand.IntN(255))})
		if !e.config.Group.Addr().Is4() {
			b := [16]byte{0xff, 0x15, 12: byte(rand.IntN(256)), 13: byte(rand.IntN(256)), 14: byte(rand.IntN(256)), 15: 1}
			group = netip.AddrFrom16(b)
		}
		if e.conn.join(e.ifi, group, netip.Addr{}) == nil {
			e.listen(ctx, time.Now().Add(probeWait), some)
			e.conn.leave(e.ifi, group)
			e.leftOne = true
		}
		e.listen(ctx, time.Now().Add(queryWait), some)
	}
}

// watch waits whether reception goes on.
func (e *examination) watch(ctx context.Context) {
	if e.config.Long == 0 || e.groupHeard == 0 {
		return
	}
	e.config.Progress(fmt.Sprintf("watching reception for %v", e.config.Long))
	for end := time.Now().Add(e.config.Long); time.Now().Before(end) && !e.died && ctx.Err() == nil; {
		e.listen(ctx, time.Now().Add(beaconEvery), nil)
		e.died = time.Since(e.lastGroup) > deadSilence
	}
	e.aliveFor = e.lastGroup.Sub(e.joined)
}

// lookBack looks at the route to the sender, and at the kernel's check against it.
func (e *examination) lookBack() {
	if e.responder.IsValid() {
		e.backIfi, _, e.backErr = routed(e.responder)
	} else if e.config.Sender.IsValid() {
		e.backIfi, _, e.backErr = routed(netip.AddrPortFrom(e.config.Sender, e.config.Group.Port()))
	} else {
		e.backErr = errNoSender
	}
	if e.config.Group.Addr().Is4() {
		// "The max value from conf/{all,interface}/rp_filter is used": the kernel's ip-sysctl documentation.
		for _, name := range []string{"all", e.ifi.Name} {
			if b, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + name + "/rp_filter"); err == nil {
				e.filter = max(e.filter, strings.TrimSpace(string(b)))
			}
		}
		if b, err := os.ReadFile("/proc/net/igmp"); err == nil {
			e.igmp = igmpVersion(string(b), e.ifi.Name)
		}
	}
}

// igmpVersion finds the version for an interface in /proc/net/igmp, whose lines for interfaces are "2 eth0 : 1 V3".
func igmpVersion(table, ifi string) string {
	for line := range strings.Lines(table) {
		left, right, ok := strings.Cut(line, ":")
		name, fields := strings.Fields(left), strings.Fields(right)
		if ok && len(name) == 2 && name[1] == ifi && len(fields) == 2 {
			return fields[1]
		}
	}
	return ""
}

var errNoSender = errors.New("no sender is known")
