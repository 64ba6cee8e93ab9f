package upgrade

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
)

// Settings are what is frozen of a CampaignConfig. The tag names the flag that a person would give.
type settings struct {
	Manifest string         `flag:"--manifest"` // its digest
	Images   []string       `flag:"IMAGE"`      // absolute paths
	Targets  string         `flag:"--devices"`  // the digest of the list
	Expect   int            `flag:"--expect"`
	Group    netip.AddrPort `flag:"--group"`
	Repairs  netip.AddrPort `flag:"--repair-group" json:",omitzero"`

	Quorum        int           `flag:"--quorum"`
	SiteQuorum    int           `flag:"--site-quorum"`
	Must          []string      `flag:"--must"`
	ReadyTimeout  time.Duration `flag:"--ready-timeout"`
	Commit        string        `flag:"--commit"`
	MaxFailures   int           `flag:"--max-failures"`
	AllowUnsigned bool          `flag:"--allow-unsigned-votes"`
	Waves         []Wave        `flag:"waves" json:",omitempty"`
	NotBefore     time.Time     `flag:"--not-before"`
	Window        time.Duration `flag:"--window"`
	Spread        time.Duration `flag:"--spread"`
	Hold          time.Duration `flag:"--stage-hold"`

	Interface     string        `flag:"--interface"`
	Source        netip.Addr    `flag:"--source"`
	TTL           int           `flag:"--ttl"`
	Rate          float64       `flag:"--rate"`
	AutoRate      bool          `flag:"--rate"`
	StartRate     float64       `flag:"--start-rate"`
	MinRate       float64       `flag:"--min-rate"`
	MaxRate       float64       `flag:"--max-rate"`
	ECN           bool          `flag:"--ecn" json:",omitempty"`
	Burst         int           `flag:"--burst"`
	SegmentSize   int           `flag:"--segment-size"`
	FEC           fec.Params    `flag:"--fec"` // without SegmentSize
	AutoParity    int           `flag:"--parity-auto"`
	GRTT          time.Duration `flag:"--grtt"`
	BackoffFactor int           `flag:"--backoff"`
	GroupSize     int           `flag:"--group-size"`
	Listen        string        `flag:"--listen"`
	Advertise     string        `flag:"--advertise"`
	Auth          string        `flag:"--auth"`
	SAP           bool          `flag:"--sap"`
	SealTo        []string      `flag:"--seal-to" json:",omitempty"` // fingerprints
	SealDevices   bool          `flag:"--seal-to" json:",omitempty"`
	SegmentHashes bool          `flag:"--segment-hashes" json:",omitempty"`
}

// settings returns the settings as they are given, zero where they are not.
func (cfg CampaignConfig) settings() (settings, error) {
	s := settings{
		Expect: cfg.Expect, Group: cfg.Group, Repairs: cfg.RepairGroup, Quorum: cfg.Quorum, SiteQuorum: cfg.SiteQuorum, Must: slices.Sorted(slices.Values(cfg.Must)),
		ReadyTimeout: cfg.ReadyTimeout, Commit: cfg.Commit, MaxFailures: cfg.MaxFailures, AllowUnsigned: cfg.AllowUnsigned, Waves: cfg.Waves,
		NotBefore: cfg.NotBefore.UTC().Truncate(time.Second), Window: cfg.Window, Spread: cfg.Spread, Hold: cfg.Hold,
		Interface: cfg.Interface, Source: cfg.Source, TTL: cfg.TTL, Rate: cfg.Rate, Burst: cfg.Burst, SegmentSize: cfg.SegmentSize,
		AutoRate: cfg.AutoRate, StartRate: cfg.StartRate, MinRate: cfg.MinRate, MaxRate: cfg.MaxRate, ECN: cfg.ECN,
		FEC: cfg.FEC, AutoParity: cfg.AutoParity, GRTT: cfg.GRTT, BackoffFactor: cfg.BackoffFactor, GroupSize: cfg.GroupSize,
		Listen: cfg.Listen, Advertise: cfg.Advertise, Auth: cfg.Auth, SAP: cfg.SAP, SegmentHashes: cfg.SegmentHashes, SealDevices: cfg.SealDevices,
	}
	s.FEC.SegmentSize = 0
	for _, to := range cfg.SealTo {
		s.SealTo = append(s.SealTo, to.Fingerprint())
	}
	if len(cfg.Targets) > 0 {
		s.Targets = commit.TargetsDigest(cfg.Targets).String()
	}
	if len(cfg.Manifest) > 0 {
		m, _, err := manifest.OpenUnverified(cfg.Manifest)
		if err != nil {
			return s, fmt.Errorf("--manifest: %w", err)
		}
		s.Manifest = m.Digest().String()
	}
	for _, path := range cfg.Images {
		abs, err := filepath.Abs(path)
		if err != nil {
			return s, err
		}
		s.Images = append(s.Images, abs)
	}
	return s, nil
}

// resolve returns the settings of a new campaign, defaults filled in, or what is wrong with them.
func (s settings) resolve() (settings, error) {
	switch {
	case s.Manifest == "":
		return s, errors.New("--manifest is required")
	case !s.Group.IsValid() || s.Group.Port() == 0:
		return s, errors.New("--group is required, such as 239.1.2.3:6003")
	case (s.Targets != "") == (s.Expect > 0) || s.Expect < 0:
		return s, errors.New("want either --devices FILE or --expect N")
	case s.Hold < 0 || s.Hold%time.Second != 0:
		return s, fmt.Errorf("--stage-hold %v: want whole seconds", s.Hold)
	case s.Rate < 0 || s.Burst < 0 || s.GRTT < 0 || s.GroupSize < 0 || s.SegmentSize < 0:
		return s, errors.New("--rate, --burst, --grtt, --group-size and --segment-size cannot be negative")
	case s.Rate != 0 && (s.StartRate != 0 || s.MinRate != 0 || s.MaxRate != 0):
		return s, errors.New("--start-rate, --min-rate and --max-rate go with --rate auto")
	case s.Rate != 0 && s.ECN:
		return s, errors.New("--ecn goes with --rate auto: a fixed rate does not give way to marks")
	case s.AutoRate && s.Rate != 0:
		return s, errors.New("--rate is either auto or a number")
	}
	if err := norm.CheckRepairGroup(s.Repairs, s.Group); err != nil {
		return s, fmt.Errorf("--repair-group: %w", err)
	}
	s.AllowUnsigned = s.AllowUnsigned || s.Expect > 0
	s, err := s.resolveWaves()
	if err != nil {
		return s, err
	}
	s.Hold = cmp.Or(s.Hold, manifest.DefaultHold)
	s.AutoRate = s.Rate == 0
	if c := s.control(); c != nil {
		if err := c.Check(cmp.Or(s.SegmentSize, 1400)); err != nil {
			return s, err
		}
	}
	s.GRTT = cmp.Or(s.GRTT, 500*time.Millisecond)
	s.Listen = cmp.Or(s.Listen, ":8443")
	if s.FEC.ID == 0 && s.FEC.MaxBlockLen == 0 {
		s.FEC = fec.Default()
	}
	if _, err := s.code().Scheme(); err != nil {
		return s, fmt.Errorf("--fec: %w", err)
	}
	if s.FEC.Dialect == fec.MDP || s.FEC.MaxBlockLen > math.MaxUint16 {
		return s, fmt.Errorf("--fec: a session description cannot carry %v in dialect %v", s.FEC, s.FEC.Dialect)
	}
	return s, nil
}

// laggardPatience is how long a campaign goes at its minimum rate for devices that bear less: as long as a device that is
// given a minimum waits until it leaves.
const laggardPatience = 30 * time.Second

// control returns what congestion control is told, nil if the rate is fixed.
func (s settings) control() *norm.RateControl {
	if !s.AutoRate {
		return nil
	}
	return &norm.RateControl{StartRate: s.StartRate, MinRate: s.MinRate, MaxRate: s.MaxRate, Patience: laggardPatience}
}

// code returns the FEC parameters of every object.
func (s settings) code() fec.Params {
	p := s.FEC
	p.SegmentSize = s.SegmentSize
	return p
}

// sameAs returns an error that names the first setting that is given and is not what was.
func (given settings) sameAs(was settings, dir string) error {
	g, w := reflect.ValueOf(given), reflect.ValueOf(was)
	for i := range g.NumField() {
		if g.Field(i).IsZero() || reflect.DeepEqual(g.Field(i).Interface(), w.Field(i).Interface()) {
			continue
		}
		return fmt.Errorf("%s: the campaign in %s was started with another (%v, not %v); its settings are frozen: leave the flag out to continue it",
			g.Type().Field(i).Tag.Get("flag"), dir, w.Field(i).Interface(), g.Field(i).Interface())
	}
	return nil
}

// resolve fills in the defaults of what is not frozen.
func (cfg CampaignConfig) resolve() CampaignConfig {
	cfg.Lead = cmp.Or(cfg.Lead, 2*time.Second)
	cfg.OutcomeTimeout = cmp.Or(cfg.OutcomeTimeout, 15*time.Minute)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Event == nil {
		cfg.Event = func(Event) {}
	}
	if cfg.Bind == nil {
		cfg.Bind = net.Listen
	}
	if cfg.random == nil {
		cfg.random = func(b []byte) { rand.Read(b) } // never fails
	}
	return cfg
}
