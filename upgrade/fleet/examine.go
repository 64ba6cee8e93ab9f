package fleet

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/norm/doctor"
	"github.com/multicast-upgrade/tool/norm/udp"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// An ExamineOrder says which devices are to examine their network, and what it has to carry. What is zero is as each field says.
type ExamineOrder struct {
	Devices []string           // by name; if there are none, those of Of
	Of      store.DeviceFilter // a device counts when its key is approved
	PerSite int                // how many of each site, at most. If zero, 2

	Group       netip.AddrPort // if zero, one that campaigns are given and none has
	SegmentSize int            // in bytes. If zero, 1400
	Rate        float64        // up to which loss is looked for, in bits per second. If zero, 10 Mbit/s, or what all campaigns share if that is less
}

// An Examination is one that was ordered.
type Examination struct {
	ID      string
	Group   netip.AddrPort
	Devices []string  // that were asked, by name
	Until   time.Time // no device begins after this
}

const (
	// MaxExamined bounds the devices of one examination.
	MaxExamined = 500
	// examinePace is how long a sender answers one device: each is sent bursts of half a second, at four rates.
	examinePace = 3 * time.Second
	// examinePatience is how long a device has to hear of it, after its moment.
	examinePatience = 30 * time.Second
	// examineLast is how long the last device that has begun takes.
	examineLast = time.Minute
)

// A Responder answers devices that examine their network: a [doctor.Responder].
type Responder interface {
	Run(ctx context.Context)
	Addr() netip.Addr // the zero value if it is not known
	Close()
}

func (s *Server) responder(c doctor.ResponderConfig) (Responder, error) {
	if s.cfg.Responder != nil {
		return s.cfg.Responder(c)
	}
	return doctor.OpenResponder(c)
}

// Examine asks devices to find out how multicast reaches them from this server, which answers them meanwhile. They begin one
// after the other, so it takes three seconds for each. Those that a campaign runs for are left alone, and those that wait at this
// server come first; [ErrNoTargets], or [ErrOpen], if none is left, [store.ErrState] while another examination goes on.
func (s *Server) Examine(ctx context.Context, o ExamineOrder, actor string) (Examination, error) {
	o.PerSite = cmp.Or(o.PerSite, 2)
	o.SegmentSize = cmp.Or(o.SegmentSize, 1400)
	o.Rate = cmp.Or(o.Rate, min(doctor.DefaultRate, s.cfg.Rate))
	if !o.Group.IsValid() {
		var err error
		if o.Group, err = s.freeGroup(); err != nil {
			return Examination{}, err
		}
	}
	switch {
	case o.PerSite < 1:
		return Examination{}, fmt.Errorf("%w: %d devices of each site", store.ErrInvalid, o.PerSite)
	case o.Rate < 1 || o.Rate > s.cfg.Rate:
		return Examination{}, fmt.Errorf("%w: rate %.0f bit/s: want up to %.0f, which all campaigns share", store.ErrInvalid, o.Rate, s.cfg.Rate)
	case !doctor.Measurable(o.SegmentSize):
		return Examination{}, fmt.Errorf("%w: segment size %d", store.ErrInvalid, o.SegmentSize)
	case !o.Group.Addr().IsMulticast() || o.Group.Port() == 0 || udp.IsSourceSpecific(o.Group.Addr()):
		return Examination{}, fmt.Errorf("%w: %v: want a multicast group that is not source-specific, and a port", store.ErrInvalid, o.Group)
	}
	devices, err := s.examined(ctx, o)
	if err != nil {
		return Examination{}, err
	}
	r, err := s.responder(doctor.ResponderConfig{Group: o.Group, Interface: s.cfg.Interface, TTL: max(s.cfg.TTL, 1), Rate: o.Rate})
	if err != nil {
		return Examination{}, fmt.Errorf("%w: %w", store.ErrInvalid, err)
	}
	e, err := s.order(ctx, o, devices, r.Addr(), actor)
	if err != nil {
		r.Close()
		return e, err
	}
	s.respond(r, e.Until.Add(examineLast))
	s.hub.changed(Changes{Devices: true})
	s.Look()
	return e, nil
}

// order brings an examination of devices into the store.
func (s *Server) order(ctx context.Context, o ExamineOrder, devices []string, sender netip.Addr, actor string) (Examination, error) {
	now := time.Now().UTC()
	spread := examinePace * time.Duration(len(devices)-1)
	asked := discovery.Examination{Group: o.Group, SegmentSize: o.SegmentSize, Rate: o.Rate, Spread: spread, Sender: sender, Until: now.Add(spread + examinePatience).Truncate(time.Second)}
	rand.Read(asked.ID[:]) // never fails
	signed, err := asked.Sign(s.cfg.Key)
	if err != nil {
		return Examination{}, err
	}
	e := Examination{hex.EncodeToString(asked.ID[:]), o.Group, devices, asked.Until}
	return e, s.store.AddExamination(ctx, store.Examination{ID: e.ID, Signed: signed, Until: e.Until}, devices, store.By{Actor: actor, At: now})
}

// respond has r answer until a time, or until the server ends.
func (s *Server) respond(r Responder, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running {
		r.Close()
		return
	}
	s.work.Go(func() {
		defer r.Close()
		ctx, cancel := context.WithDeadline(s.runs, until)
		defer cancel()
		r.Run(ctx)
	})
}

// freeGroup returns a group that campaigns are given and that none has which this server knows of.
func (s *Server) freeGroup() (netip.AddrPort, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := map[netip.AddrPort]bool{}
	for _, l := range s.leads {
		taken[l.start.Group] = true
	}
	for _, f := range s.follows {
		taken[f.start.Group] = true
	}
	for _, w := range s.waits {
		taken[w.start.Group] = true
	}
	for _, g := range s.groups() {
		if !taken[g] && !udp.IsSourceSpecific(g.Addr()) {
			return g, nil
		}
	}
	return netip.AddrPort{}, store.ErrNoGroup
}

// examined returns the devices that an order is about, by name.
func (s *Server) examined(ctx context.Context, o ExamineOrder) ([]string, error) {
	sites := map[string]*sample{}
	busy := 0
	consider := func(d store.Device) {
		if d.KeyState != store.KeyApproved || d.Duplicate {
			return
		}
		if len(s.placesOf(d.ID)) > 0 {
			busy++
			return
		}
		of := sites[d.Site]
		if of == nil {
			of = &sample{}
			sites[d.Site] = of
		}
		of.add(d.ID, s.Online(d.ID), o.PerSite)
	}
	if len(o.Devices) > 0 {
		o.PerSite = len(o.Devices) // all of them
		for _, id := range o.Devices[:min(len(o.Devices), MaxExamined+1)] {
			d, err := s.store.Device(ctx, id)
			if err != nil {
				return nil, err
			}
			consider(d)
		}
	} else {
		o.Of.KeyState = new(store.KeyApproved)
		for page := (store.Page{Limit: 1000}); ; {
			l, err := s.store.Devices(ctx, o.Of, page)
			if err != nil {
				return nil, err
			}
			for _, d := range l.Items {
				consider(d)
			}
			if page.After = l.Next; l.Next == "" {
				break
			}
		}
	}
	var all []string
	for _, of := range sites {
		all = append(all, of.first(o.PerSite)...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	switch {
	case len(all) == 0 && busy > 0:
		return nil, fmt.Errorf("%w: campaigns run for all %d devices that match", ErrOpen, busy)
	case len(all) == 0:
		return nil, fmt.Errorf("%w: none matches whose key is approved", ErrNoTargets)
	case len(all) > MaxExamined:
		return nil, fmt.Errorf("%w: %d devices are to examine their network, and up to %d can at a time: name sites, or fewer of each", store.ErrInvalid, len(all), MaxExamined)
	}
	return all, nil
}

// A sample is some devices of a site, each with the same chance: those that wait for news, and others, which may wait at another
// server.
type sample struct {
	chosen [2][]string
	seen   [2]int
}

// add considers a device, where up to most are taken.
func (x *sample) add(device string, online bool, most int) {
	i := 1
	if online {
		i = 0
	}
	if x.seen[i]++; len(x.chosen[i]) < most {
		x.chosen[i] = append(x.chosen[i], device)
	} else if n := mrand.N(x.seen[i]); n < most {
		x.chosen[i][n] = device
	}
}

func (x *sample) first(most int) []string {
	all := slices.Concat(x.chosen[0], x.chosen[1])
	return all[:min(len(all), most)]
}

// askExaminations tells devices of the examinations that they are asked for, whichever server was asked to order them. It is
// called by Run, after campaigns were looked at: what those announce is never hidden.
func (s *Server) askExaminations(ctx context.Context) error {
	open, err := s.store.OpenExaminations(ctx, time.Now())
	if err != nil {
		return err
	}
	for id, posting := range s.examinations {
		if !slices.ContainsFunc(open, func(e store.Examination) bool { return e.ID == id }) {
			posting.Withdraw()
			delete(s.examinations, id)
		}
	}
	for _, e := range open {
		if s.examinations[e.ID] != nil {
			continue
		}
		devices, err := s.store.ExaminationDevices(ctx, e.ID)
		if err != nil {
			return err
		}
		seats := map[string]discovery.Seat{}
		for _, d := range devices {
			if len(s.placesOf(d)) == 0 {
				seats[d] = discovery.Seat{}
			}
		}
		posting := s.handler.Post(seats)
		posting.Publish(discovery.Notice{Examination: e.Signed})
		s.examinations[e.ID] = posting
	}
	return nil
}

var _ discovery.Examiner = backend{}

// Diagnosis takes what a device has found in an examination that it was asked for. Its approved key has to have signed it.
func (b backend) Diagnosis(ctx context.Context, d discovery.Diagnosis) error {
	stranger := &discovery.Refusal{Status: http.StatusForbidden, Reason: string(commit.ReasonNotTarget), Detail: "the server has not asked this device"}
	known, err := b.s.store.DeviceWithoutTags(ctx, d.Device)
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && (known.KeyState != store.KeyApproved || known.Duplicate):
		return stranger
	case err != nil:
		return err
	}
	if err := d.Verify(known.Key); err != nil {
		return refusal(err)
	}
	found := make([]store.Finding, len(d.Findings))
	for i, f := range d.Findings {
		found[i] = store.Finding{Check: f.Check, Verdict: store.Verdict(f.Verdict), Seen: f.Seen, Remedy: f.Remedy}
	}
	err = b.s.store.Diagnose(ctx, d.Device, hex.EncodeToString(d.Examination[:]), found, time.Now().UTC())
	if errors.Is(err, store.ErrNotFound) {
		return stranger
	}
	if err == nil {
		b.s.hub.changed(Changes{Devices: true})
	}
	return refusal(err)
}

// A SiteDiagnosis is what the devices of a site have found out about their network.
type SiteDiagnosis struct {
	Site    string
	Asked   int // devices that were asked
	Waiting int // of them, those that have not answered
	OK      int // nothing is wrong as far as it could be checked
	Wrong   int // a fault or a warning
	At      time.Time
	Trouble []Trouble // what is wrong, where most devices have it first
}

// A Trouble is a check that fails at devices of a site.
type Trouble struct {
	store.Finding        // Seen is empty
	Devices       int    // that have it for their first
	Example       string // one of them
}

var diagnosisOrders = map[string]func(SiteDiagnosis) rank{
	"wrong": func(v SiteDiagnosis) rank { return rank{number: float64(v.Wrong)} },
}

// Diagnoses returns a page of the sites whose devices were asked to examine their network, by name or in the order wrong.
func (s *Server) Diagnoses(ctx context.Context, p store.Page) (store.List[SiteDiagnosis], error) {
	tallies, err := s.store.DiagnosisTallies(ctx)
	if err != nil {
		return store.List[SiteDiagnosis]{}, err
	}
	var sites []SiteDiagnosis
	for _, t := range tallies { // sorted by site
		if n := len(sites); n == 0 || sites[n-1].Site != t.Site {
			sites = append(sites, SiteDiagnosis{Site: t.Site})
		}
		sites[len(sites)-1].add(t)
	}
	for _, v := range sites {
		slices.SortStableFunc(v.Trouble, func(a, b Trouble) int { return cmp.Compare(b.Devices, a.Devices) })
	}
	return part(sites, p, func(v SiteDiagnosis) string { return v.Site }, diagnosisOrders)
}

func (v *SiteDiagnosis) add(t store.DiagnosisTally) {
	v.Asked += t.Devices
	if t.Waiting {
		v.Waiting += t.Devices
		return
	}
	if t.At.After(v.At) {
		v.At = t.At
	}
	if t.Check == "" {
		v.OK += t.Devices
		return
	}
	v.Wrong += t.Devices
	v.Trouble = append(v.Trouble, Trouble{store.Finding{Check: t.Check, Verdict: t.Verdict, Remedy: t.Remedy}, t.Devices, t.Example})
}
