package upgrade

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/norm/doctor"
)

// An examining is the examination of the network that the server has asked for last.
type examining struct {
	id   discovery.ExaminationID
	stop context.CancelFunc // ends it; nil: it is over
}

// reportTries is how often a diagnosis is told to a server that cannot be reached.
const reportTries = 5

// examine does an examination that the server asks for: once, not while a campaign is under way, and only with a key, as nobody
// would believe what it finds otherwise.
func (a *Agent) examine(now time.Time, signed []byte) {
	e, err := discovery.OpenExamination(signed, a.trust().Server(signed))
	if err != nil {
		a.log.Warn("an examination is not done", "error", err)
		return
	}
	if e.ID == a.examining.id || a.busy.Load() || a.cfg.Key == nil || a.utc(now).After(e.Until) {
		return
	}
	a.stopExamining()
	ctx, cancel := context.WithCancel(a.ctx)
	a.examining = examining{e.ID, cancel}
	a.work.Go(func() {
		defer cancel()
		a.diagnose(ctx, e)
	})
}

// stopExamining ends an examination: what comes now is more important.
func (a *Agent) stopExamining() {
	if a.examining.stop != nil {
		a.examining.stop()
		a.examining.stop = nil
	}
}

// diagnose examines the network when it is this device's turn, and tells the server what it has found.
func (a *Agent) diagnose(ctx context.Context, e discovery.Examination) {
	if !pause(ctx, time.Duration(rand.Float64()*float64(e.Spread))) {
		return
	}
	examine := a.cfg.Examine
	if examine == nil {
		examine = doctor.Examine
	}
	report, err := examine(ctx, doctor.Config{Group: e.Group, Interface: a.cfg.Interface, Sender: e.Sender, SegmentSize: e.SegmentSize, Rate: e.Rate,
		UnicastFeedback: a.cfg.UnicastFeedback, Expect: true})
	if ctx.Err() != nil {
		return
	}
	d := discovery.Diagnosis{Device: a.cfg.Device, Examination: e.ID}
	if err != nil { // it could not begin: that is what there is to know
		d.Findings = []discovery.Finding{{Check: "interface", Verdict: string(doctor.Fault), Seen: line(err.Error()), Remedy: "start the agent with another --interface"}}
	} else {
		for _, f := range report.Findings {
			d.Findings = append(d.Findings, discovery.Finding{Check: f.Check, Verdict: string(f.Verdict), Seen: line(f.Seen), Remedy: line(f.Remedy)})
		}
	}
	if err := d.Sign(a.cfg.Key); err != nil {
		a.log.Error("a diagnosis cannot be signed", "error", err)
		return
	}
	a.tell.tell(Event{Kind: EventExamined, Group: e.Group.String(), Detail: summary(d.Findings)})
	for try := range reportTries {
		err := a.client.Diagnosis(ctx, d)
		if err == nil {
			return
		}
		if r, refused := turnedAway(err); refused {
			a.tell.tell(Event{Kind: EventTrouble, Detail: "the server does not take what was found: " + r.Detail})
			return
		}
		if !pause(ctx, retryAfter(try)) {
			return
		}
	}
	a.log.Warn("the server was not told what was found")
}

// line returns a text as servers take it: of up to 512 bytes of UTF-8.
func line(text string) string {
	const limit = 512
	text = strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", "?"), "?")
	if len(text) <= limit {
		return text
	}
	text = text[:limit-len("…")]
	for !utf8.ValidString(text) {
		text = text[:len(text)-1]
	}
	return text + "…"
}

// summary says to a person what was found: which checks are not ok.
func summary(findings []discovery.Finding) string {
	var wrong []string
	for _, f := range findings {
		if f.Verdict == string(doctor.Fault) || f.Verdict == string(doctor.Warning) {
			wrong = append(wrong, f.Check)
		}
	}
	if len(wrong) == 0 {
		return "nothing is wrong as far as it can be seen"
	}
	return fmt.Sprintf("see %s", strings.Join(wrong, ", "))
}
