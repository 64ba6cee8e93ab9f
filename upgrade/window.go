package upgrade

import (
	"fmt"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/commit"
)

// A Window is a maintenance window: some hours of some days of the week, such as "Mon-Fri 02:00-04:00". The zero Window
// never opens.
type Window struct {
	days     [7]bool // by time.Weekday: on which it opens
	from, to int     // minutes of the day; to is at most from for a window that ends on the next day
}

var weekdays = []string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"}

// ParseWindow reads a window: "HH:MM-HH:MM", and before that the days on which it opens, as "Mon", "Mon-Fri" or
// "Sat,Sun", all if there are none. One that does not end after it begins ends on the next day; 24:00 is the end of a day.
func ParseWindow(s string) (w Window, err error) {
	wrong := fmt.Errorf("maintenance window %.40q: want it like 02:00-04:00 or Mon-Fri 22:00-04:00", s)
	fields := strings.Fields(s)
	if len(fields) == 0 || len(fields) > 2 {
		return w, wrong
	}
	from, to, ok := strings.Cut(fields[len(fields)-1], "-")
	if w.from, err = minuteOfDay(from); !ok || err != nil || w.from == 24*60 {
		return w, wrong
	}
	if w.to, err = minuteOfDay(to); err != nil {
		return w, wrong
	}
	if len(fields) == 1 {
		w.days = [7]bool{true, true, true, true, true, true, true}
		return w, nil
	}
	for part := range strings.SplitSeq(fields[0], ",") {
		first, last, isRange := strings.Cut(part, "-")
		a, b := weekday(first), weekday(last)
		if !isRange {
			b = a
		}
		if a < 0 || b < 0 {
			return w, wrong
		}
		for d := a; ; d = (d + 1) % 7 {
			w.days[d] = true
			if d == b {
				break
			}
		}
	}
	return w, nil
}

// minuteOfDay reads HH:MM, up to 24:00.
func minuteOfDay(s string) (int, error) {
	var h, m int
	if len(s) != 5 || s[2] != ':' {
		return 0, fmt.Errorf("%q is no time of day", s)
	}
	for i, n := range []*int{&h, &m} {
		tens, ones := s[3*i]-'0', s[3*i+1]-'0'
		if tens > 9 || ones > 9 {
			return 0, fmt.Errorf("%q is no time of day", s)
		}
		*n = int(tens)*10 + int(ones)
	}
	if h > 24 || m > 59 || h == 24 && m > 0 {
		return 0, fmt.Errorf("%q is no time of day", s)
	}
	return h*60 + m, nil
}

func weekday(s string) int {
	for i, name := range weekdays {
		if strings.EqualFold(s, name) {
			return i
		}
	}
	return -1
}

// on returns when the window that opens on the day of t does so, and when it closes; ok is false if none does. The hours
// are those of the clock on the wall: where it is put forward or back within a window, that is shorter or longer, and a time
// that is skipped is one nearby.
func (w Window) on(t time.Time) (opens, closes time.Time, ok bool) {
	y, m, d := t.Date()
	last := d
	if w.to <= w.from {
		last++
	}
	opens = time.Date(y, m, d, 0, w.from, 0, 0, t.Location())
	closes = time.Date(y, m, last, 0, w.to, 0, 0, t.Location())
	return opens, closes, w.days[t.Weekday()] && closes.After(opens)
}

// searched is how many days ahead the next window is looked for. One of a week may be left out when clocks are put forward.
const searched = 15

// Windows are maintenance windows in one time zone. None at all means that it may be done at any time.
type Windows struct {
	Zone *time.Location // nil: UTC
	Of   []Window
}

// Opens returns the earliest instant not before t that lies within one of the windows, and t itself if that does.
func (w Windows) Opens(t time.Time) time.Time {
	if len(w.Of) == 0 {
		return t
	}
	local := t.UTC()
	if w.Zone != nil {
		local = t.In(w.Zone)
	}
	var first time.Time
	y, m, d := local.Date()
	for day := -1; day <= searched; day++ { // the one of yesterday may still be open
		noon := time.Date(y, m, d+day, 12, 0, 0, 0, local.Location())
		for _, one := range w.Of {
			opens, closes, ok := one.on(noon)
			switch {
			case !ok || !closes.After(t):
			case !opens.After(t):
				return t
			case first.IsZero() || opens.Before(first):
				first = opens
			}
		}
	}
	if first.IsZero() {
		return t.AddDate(0, 0, searched)
	}
	return first.UTC()
}

// opens is the window of the config as the commit takes it; nil for none.
func (c AgentConfig) opens() func(time.Time) time.Time {
	if len(c.Windows.Of) == 0 {
		return nil
	}
	return c.Windows.Opens
}

// tellWaiting tells, once for each instant, that a COMMIT waits for the maintenance window.
func (a *Agent) tellWaiting(now time.Time) {
	opens, ok := a.p.WaitsUntil(now)
	if !ok {
		a.waits = time.Time{}
		return
	}
	if opens.Equal(a.waits) {
		return
	}
	a.waits = opens
	round := a.p.Status().Current.Round
	e := Event{Kind: EventWaiting, Campaign: round.Campaign.String(), Wave: round.Wave, State: commit.StateReady, Reason: commit.ReasonWindow,
		Detail: "waiting for its maintenance window, which opens at " + opens.Format(time.RFC3339)}
	a.tell.tell(e)
	a.writeStatus(e)
	a.sendStatus(round, commit.StateReady, commit.ReasonWindow)
}
