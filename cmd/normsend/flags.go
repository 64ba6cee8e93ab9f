package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/udp"
	"github.com/spf13/cobra"
)

// linkFlags say where to send.
type linkFlags struct {
	group     string
	repairs   string
	ifi       string
	ttl, dscp int
}

func (l *linkFlags) register(c *cobra.Command) {
	fs := c.Flags()
	fs.StringVar(&l.group, "group", "", "multicast group (or one host) and port, such as 239.1.2.3:6003 or [ff15::1]:6003")
	fs.StringVar(&l.repairs, "repair-group", "", "send repairs to this `group` and port: receivers listen to it only while they lack something")
	fs.StringVar(&l.ifi, "interface", "", "network `interface` by name or address; if empty, the routing table decides")
	fs.IntVar(&l.ttl, "ttl", 1, "how many routers may pass it on; 0 stays on this host")
}

func (l *linkFlags) open(ecn bool) (*udp.Conn, error) {
	group, err := udp.ParseGroup(l.group)
	if err != nil {
		return nil, err
	}
	repairs, err := cli.RepairGroup(l.repairs, group)
	if err != nil {
		return nil, err
	}
	ttl, err := l.hops()
	if err != nil {
		return nil, err
	}
	c := udp.Config{Group: group, RepairGroup: repairs, Role: udp.Sender, Interface: l.ifi, TTL: ttl, DSCP: l.dscp}
	if ecn {
		c.ECN = udp.ECT0
	}
	return udp.Open(c)
}

// hops returns the TTL as package udp knows it.
func (l *linkFlags) hops() (int, error) {
	switch {
	case l.ttl < 0 || l.ttl > 255:
		return 0, fmt.Errorf("--ttl %d: want 0 to 255", l.ttl)
	case l.ttl == 0:
		return -1, nil
	}
	return l.ttl, nil
}

// interfaceName says which interface is used.
func interfaceName(c *udp.Conn) string {
	if ifi := c.Interface(); ifi != nil {
		return ifi.Name
	}
	return "the default interface"
}

// transportFlags say how the sender sends.
type transportFlags struct {
	rate        rate
	startRate   cli.BitRate
	minRate     cli.BitRate
	maxRate     cli.BitRate
	potential   []string
	withhold    bool
	patience    time.Duration
	ecn         bool
	burst       cli.Size
	segmentSize int
	fec         string
	dialect     string
	autoParity  autoParity
	repeatInfo  bool
	grtt        time.Duration
	backoff     int
	groupSize   int
	nodeID      uint32
}

func (t *transportFlags) register(c *cobra.Command) {
	t.rate.auto = true
	fs := c.Flags()
	fs.Var(&t.rate, "rate", "limit of everything sent, in bits per second: 64k, 10M, 1.5G; or what congestion control finds: auto")
	fs.Var(&t.startRate, "start-rate", "with --rate auto: begin with this rate, which all paths should bear (default 1M)")
	fs.Var(&t.minRate, "min-rate", "with --rate auto: never below this (default a segment a second)")
	fs.Var(&t.maxRate, "max-rate", "with --rate auto: never above this")
	fs.BoolVar(&t.ecn, "ecn", false, "with --rate auto: mark datagrams as ECT(0), for routers that mark in place of dropping; receivers must see marks, which those on Windows do not")
	fs.Var(&t.burst, "burst", "bytes that may leave at once; 0 is what the rate gives in 2 ms, at least a datagram")
	fs.IntVar(&t.segmentSize, "segment-size", 1400, "bytes of content in a datagram")
	fs.StringVar(&t.fec, "fec", fec.Default().String(), "code: rs8:K,P (K source and P parity segments a block), rs16:K,P for longer blocks, rs8-129:K,P, none")
	fs.Var(&t.autoParity, "parity-auto", "parity segments sent with each block unasked: a number, none, or what recent blocks needed: adaptive")
	fs.DurationVar(&t.grtt, "grtt", 500*time.Millisecond, "first estimate of the group's greatest round trip time; then it is measured")
	fs.IntVar(&t.backoff, "backoff", -1, "how many round trip times receivers spread their requests over (default 4, source-specific 6, a single host 0)")
	fs.Lookup("backoff").DefValue = "0" // the text says which
	fs.IntVar(&t.groupSize, "group-size", 10_000, "about how many receivers there are")
}

func (t *transportFlags) config(group netip.AddrPort) (norm.SenderConfig, error) {
	c := norm.SenderConfig{
		Node: norm.NodeID(t.nodeID), Instance: norm.InstanceID(rand.Uint32()), Group: group,
		SegmentSize: t.segmentSize, AutoParity: int(t.autoParity), RepeatInfo: t.repeatInfo,
		Rate: float64(t.rate.fixed), Burst: int(t.burst),
		GRTT: t.grtt, BackoffFactor: t.backoffFactor(), GroupSize: t.groupSize,
	}
	if t.rate.auto {
		c.Rate = 0
		c.Control = &norm.RateControl{
			StartRate: float64(t.startRate), MinRate: float64(t.minRate), MaxRate: float64(t.maxRate),
			Patience: t.patience, Withhold: t.withhold,
		}
		var err error
		if c.Control.Potential, err = parseNodes("--plr", t.potential); err != nil {
			return c, err
		}
	}
	if err := t.checkRate(); err != nil {
		return c, err
	}
	if c.Node == 0 {
		c.Node = randomNode()
	}
	var err error
	if c.FEC, err = fec.ParseSpec(t.fec); err != nil {
		return c, err
	}
	if t.dialect != "" {
		if c.FEC.Dialect, err = fec.ParseDialect(t.dialect); err != nil {
			return c, err
		}
	}
	if c.FEC.Dialect == fec.MDP && c.FEC.ID != fec.SmallBlockSystematic {
		return c, fmt.Errorf("--dialect mdp: it is a code of rs8-129 only; use --fec rs8-129:%d,%d", c.FEC.MaxBlockLen, c.FEC.MaxParity)
	}
	return c, nil
}

// backoffFactor returns --backoff in the words of package norm, for which zero is the default and less is none.
func (t *transportFlags) backoffFactor() int {
	switch {
	case t.backoff < 0:
		return 0
	case t.backoff == 0:
		return -1
	}
	return t.backoff
}

// checkRate refuses what is for congestion control where the rate is fixed.
func (t *transportFlags) checkRate() error {
	switch {
	case t.patience != 0 && t.minRate == 0:
		return errors.New("--patience goes with --min-rate, below which it ends")
	case t.rate.auto:
		return nil
	case len(t.potential) > 0 || t.withhold:
		return errors.New("--plr and --withhold go with --rate auto")
	case t.startRate != 0 || t.minRate != 0 || t.maxRate != 0:
		return errors.New("--start-rate, --min-rate and --max-rate go with --rate auto")
	case t.ecn:
		return errors.New("--ecn goes with --rate auto: a fixed rate does not give way to marks")
	}
	return nil
}

// A rate is a flag in bits per second, or auto: as congestion control finds.
type rate struct {
	fixed cli.BitRate
	auto  bool
}

// Type names the flag's value in help.
func (*rate) Type() string { return "bitrate" }

func (r *rate) String() string {
	if r.auto {
		return "auto"
	}
	return r.fixed.String()
}

// Set reads the flag.
func (r *rate) Set(s string) error {
	if r.auto = s == "auto"; r.auto {
		return nil
	}
	return r.fixed.Set(s)
}

// An autoParity is a flag for norm.SenderConfig.AutoParity, for which zero is adaptive and less is none.
type autoParity int

// Type names the flag's value in help.
func (*autoParity) Type() string { return "number" }

func (p *autoParity) String() string {
	switch {
	case *p == 0:
		return "adaptive"
	case *p < 0:
		return "none"
	}
	return strconv.Itoa(int(*p))
}

// Set reads the flag.
func (p *autoParity) Set(s string) error {
	switch n, err := strconv.ParseUint(s, 10, 16); {
	case s == "adaptive":
		*p = 0
	case s == "none" || err == nil && n == 0:
		*p = -1
	case err != nil:
		return errors.New("want a number of segments, none or adaptive")
	default:
		*p = autoParity(n)
	}
	return nil
}

// describeRate says how fast is sent.
func describeRate(auto bool, bitsPerSecond float64) string {
	if auto {
		return "at the rate that the slowest path bears"
	}
	r := cli.BitRate(bitsPerSecond)
	return "at " + r.String() + "bit/s"
}

// fieldFlags are the flags that fill the fields of a norm.SenderConfig.
var fieldFlags = map[string]string{
	"Node": "--node-id", "SegmentSize": "--segment-size", "AutoParity": "--parity-auto", "Rate": "--rate", "Burst": "--burst",
	"StartRate": "--start-rate", "MinRate": "--min-rate", "MaxRate": "--max-rate",
	"Potential": "--plr", "Patience": "--patience",
	"RepairGroup": "--repair-group", "GRTT": "--grtt", "BackoffFactor": "--backoff", "GroupSize": "--group-size", "FEC": "--fec",
}

// asFlags names flags where an error about a norm.SenderConfig names a field.
func asFlags(err error) error {
	field, rest, _ := strings.Cut(strings.TrimPrefix(err.Error(), "norm: "), " ")
	name, colon := strings.CutSuffix(field, ":")
	flag, ok := fieldFlags[name]
	if !ok {
		return err
	}
	if colon {
		flag += ":"
	}
	return errors.New(flag + " " + rest)
}
