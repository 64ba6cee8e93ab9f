package normtest

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/auth"
	"github.com/multicast-upgrade/tool/norm/fec"
)

var nodeCommands = map[string]command{
	"group":    (*runner).group,
	"sender":   (*runner).addSender,
	"receiver": (*runner).addReceiver,
	"restart":  (*runner).restart,
	"kill":     (*runner).kill,
}

func (r *runner) group(a *args) ([]string, error) {
	seed := a.int("seed", 1)
	*r = runner{
		net: New(uint64(seed)), sites: make(map[string]*Site), senders: make(map[string]*Sender),
		receivers: make(map[string]*Receiver), strangers: make(map[string]*stranger), counts: make(map[*Host]map[string]uint64),
	}
	r.trace = NewTrace(r.net, "repair", "flush", "eot", "squelch", "repair_adv", "nack", "event", "count", "other", "read")
	for _, kind := range a.list("trace") {
		if err := r.trace.Set(kind, true); err != nil {
			return nil, err
		}
	}
	d := defaults{
		sender: norm.SenderConfig{
			GRTT: 100 * time.Millisecond, Rate: 1e6, SegmentSize: 64, GroupSize: 10, FirstObject: 1,
			FEC: fec.Params{ID: fec.ReedSolomonGF8, MaxBlockLen: 8, MaxParity: 4}, Seed: uint64(seed),
		},
		receiver: norm.ReceiverConfig{Seed: uint64(seed)},
	}
	if a.has("auth") {
		d.sender.Auth = &auth.Config{Key: []byte("the group key of all scripts")}
		d.receiver.Auth = d.sender.Auth
	}
	d.sender = senderConfig(a, d.sender)
	d.receiver = receiverConfig(a, "r.", d.receiver)
	d.receiver.RobustFactor = d.sender.RobustFactor
	d.link = link(a, Link{Delay: d.sender.GRTT / 2})
	r.net.JoinLatency, r.net.LeaveLatency = a.duration("joins", 0), a.duration("leaves", 0)
	r.defaults = &d
	n, err := a.int("receivers", 1), error(nil)
	if a.has("alone") {
		n = 0
	} else if _, err = r.startSender("s", nil, d.sender, 1); err != nil {
		return nil, err
	}
	for i := range n {
		if err := r.startReceiver(fmt.Sprintf("r%d", i+1), nil, d.link, d.receiver); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (r *runner) addSender(a *args) ([]string, error) {
	name, site, err := r.place(a)
	if err != nil {
		return nil, err
	}
	_, err = r.startSender(name, site, senderConfig(a, r.defaults.sender), norm.NodeID(len(r.senders)+1))
	return nil, err
}

func (r *runner) addReceiver(a *args) ([]string, error) {
	name, site, err := r.place(a)
	if err != nil {
		return nil, err
	}
	cfg := receiverConfig(a, "", r.defaults.receiver)
	return nil, r.startReceiver(name, site, link(a, r.defaults.link), cfg)
}

func (r *runner) place(a *args) (name string, site *Site, err error) {
	name = a.word("a name")
	if s := a.text("site", ""); s != "" {
		if site = r.sites[s]; site == nil {
			err = fmt.Errorf("no site %q", s)
		}
	}
	return name, site, err
}

func (r *runner) startSender(name string, site *Site, cfg norm.SenderConfig, id norm.NodeID) (*Sender, error) {
	cfg.Node = cmp.Or(cfg.Node, id)
	s, err := r.net.AddSender(name, site, Link{}, Link{Delay: r.defaults.link.Delay}, cfg)
	if err != nil {
		return nil, err
	}
	r.senders[name] = s
	s.Host.OnSettle = func() { r.count(s.Host, s.Core.Stats()) }
	return s, nil
}

func (r *runner) startReceiver(name string, site *Site, down Link, cfg norm.ReceiverConfig) error {
	i := len(r.receivers) + 1
	cfg.Node = cmp.Or(cfg.Node, norm.NodeID(100+i))
	cfg.Seed += uint64(i) << 32
	x, err := r.net.AddReceiver(name, site, Link{}, down, cfg)
	if err != nil {
		return err
	}
	r.receivers[name] = x
	x.Host.OnSettle = func() { r.count(x.Host, x.Core.Stats()) }
	return nil
}

// restart kills a node and starts it anew: a sender with the next instance_id and the same first object unless told otherwise.
func (r *runner) restart(a *args) ([]string, error) {
	name := a.word("a node")
	if s := r.senders[name]; s != nil {
		cfg := s.Config
		cfg.Instance++
		delete(r.counts, s.Host)
		return nil, s.Restart(senderConfig(a, cfg))
	}
	if x := r.receivers[name]; x != nil {
		delete(r.counts, x.Host)
		return nil, x.Restart(receiverConfig(a, "", x.Config))
	}
	return nil, fmt.Errorf("no node %q", name)
}

func (r *runner) kill(a *args) ([]string, error) {
	h, err := r.host(a.word("a node"))
	if err != nil {
		return nil, err
	}
	h.Kill()
	return nil, nil
}

func senderConfig(a *args, c norm.SenderConfig) norm.SenderConfig {
	c.Node = norm.NodeID(a.int("node", int(c.Node)))
	c.Instance = norm.InstanceID(a.int("instance", int(c.Instance)))
	c.FirstObject = norm.TransportID(a.int("first", int(c.FirstObject)))
	c.BackoffFactor = a.int("k", c.BackoffFactor)
	c.GRTT = a.duration("grtt", c.GRTT)
	c.MinGRTT = a.duration("mingrtt", c.MinGRTT)
	c.MaxGRTT = a.duration("maxgrtt", c.MaxGRTT)
	c.GroupSize = a.int("gsize", c.GroupSize)
	c.RobustFactor = a.int("robust", c.RobustFactor)
	controlConfig(a, &c)
	c.SegmentSize = a.int("segment", c.SegmentSize)
	c.AutoParity = a.int("autoparity", c.AutoParity)
	c.ProbeInterval = a.duration("probe", c.ProbeInterval)
	c.MaxObjects = a.int("maxobjects", c.MaxObjects)
	c.MaxBytes = int64(a.int("maxbytes", int(c.MaxBytes)))
	c.FlowControl = a.float("flow", c.FlowControl)
	if a.given("track") {
		c.Track = choice(a, "track", []string{"none", "receivers", "all"}, []norm.TrackPolicy{norm.TrackNone, norm.TrackReceivers, norm.TrackAll})
	}
	c.MaxTracked = a.int("tracked", c.MaxTracked)
	c.Buffer = a.int("buffer", c.Buffer)
	c.FEC = take(a, "code", c.FEC, parseCode)
	c.RepairGroup = repairGroup(a, "", c.RepairGroup)
	// So slow as scripts are, a command would otherwise delay the data behind it. 40 bytes are the longest header.
	c.Burst = max(int(c.Rate/8*0.002), 2*(c.SegmentSize+40))
	return c
}

// controlConfig reads the rate, or with rate=auto its bounds.
func controlConfig(a *args, c *norm.SenderConfig) {
	if a.keys["rate"] != "auto" {
		c.Rate = a.rate("rate", c.Rate)
		return
	}
	a.text("rate", "")
	c.Rate, c.Control = 0, &norm.RateControl{StartRate: a.rate("start", 0), MinRate: a.rate("least", 0), MaxRate: a.rate("most", 0)}
	for _, id := range a.list("plr") {
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			a.fail("plr: %v", err)
		}
		c.Control.Potential = append(c.Control.Potential, norm.NodeID(n))
	}
}

// receiverConfig reads the keys of a receiver, which have the prefix.
func receiverConfig(a *args, prefix string, c norm.ReceiverConfig) norm.ReceiverConfig {
	c.Node = norm.NodeID(a.int(prefix+"node", int(c.Node)))
	c.Sender = norm.NodeID(a.int(prefix+"sender", int(c.Sender)))
	if a.given(prefix + "join") {
		c.Join = choice(a, prefix+"join", []string{"current", "object", "stream", "all"},
			[]norm.JoinPolicy{norm.JoinCurrent, norm.JoinObject, norm.JoinStream, norm.JoinAll})
	}
	if a.given(prefix + "patience") {
		c.Patience = choice(a, prefix+"patience", []string{"no", "yes"}, []bool{false, true})
	}
	if a.given(prefix + "feedback") {
		c.Feedback = choice(a, prefix+"feedback", []string{"auto", "group", "unicast"},
			[]norm.FeedbackPolicy{norm.FeedbackAuto, norm.FeedbackGroup, norm.FeedbackUnicast})
	}
	if a.given(prefix + "guard") {
		c.Guard = choice(a, prefix+"guard", []string{"silence", "always", "never"},
			[]norm.GuardPolicy{norm.GuardSilence, norm.GuardAlways, norm.GuardNever})
	}
	if a.given(prefix + "nack") {
		c.Nack = choice(a, prefix+"nack", []string{"all", "info", "none"}, []norm.NackMode{norm.NackAll, norm.NackInfo, norm.NackNone})
	}
	if a.given(prefix + "boundary") {
		c.Boundary = choice(a, prefix+"boundary", []string{"block", "object"}, []norm.Boundary{norm.BoundaryBlock, norm.BoundaryObject})
	}
	if a.given(prefix + "silent") {
		c.Silent = choice(a, prefix+"silent", []string{"no", "yes"}, []bool{false, true})
	}
	c.MaxDelay = a.duration(prefix+"maxdelay", c.MaxDelay)
	c.PurgeAfter = a.duration(prefix+"purge", c.PurgeAfter)
	c.MaxSuppressed = a.int(prefix+"maxsuppressed", c.MaxSuppressed)
	c.RobustFactor = a.int(prefix+"robust", c.RobustFactor)
	c.MinRate = a.rate(prefix+"least", c.MinRate)
	c.MaxSenders = a.int(prefix+"maxsenders", c.MaxSenders)
	c.MaxObjects = a.int(prefix+"maxobjects", c.MaxObjects)
	c.MaxObjectSize = int64(a.int(prefix+"maxsize", int(c.MaxObjectSize)))
	c.Buffer = a.int(prefix+"buffer", c.Buffer)
	c.StreamBuffer = a.int(prefix+"streambuffer", c.StreamBuffer)
	c.RepairGroup = repairGroup(a, prefix, c.RepairGroup)
	c.StreamLive = c.StreamLive || a.has(prefix+"live")
	return c
}

// repairGroup reads whether a node is told of the repair group.
func repairGroup(a *args, prefix string, group netip.AddrPort) netip.AddrPort {
	if a.given(prefix + "repairgroup") {
		group = choice(a, prefix+"repairgroup", []string{"no", "yes"}, []netip.AddrPort{{}, RepairGroup})
	}
	return group
}

// parseCode reads K,P for Reed-Solomon (FEC Encoding ID 5), 129:K,P for the same under ID 129, none:K for no code.
func parseCode(s string) (p fec.Params, err error) {
	p.ID = fec.ReedSolomonGF8
	if k, ok := strings.CutPrefix(s, "none:"); ok {
		p.ID = fec.NoCode
		_, err = fmt.Sscanf(k, "%d", &p.MaxBlockLen)
		return p, err
	}
	if kp, ok := strings.CutPrefix(s, "129:"); ok {
		p.ID, s = fec.SmallBlockSystematic, kp
	}
	_, err = fmt.Sscanf(s, "%d,%d", &p.MaxBlockLen, &p.MaxParity)
	return p, err
}
