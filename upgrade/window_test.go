package upgrade

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
)

func TestWindowOpens(t *testing.T) {
	vienna, err := time.LoadLocation("Europe/Vienna")
	if err != nil {
		t.Skip("this system has no time zones")
	}
	for _, test := range []struct{ window, at, want string }{
		{"02:00-04:00", "2026-11-24 01:59:59", "2026-11-24 02:00:00"}, // a Tuesday
		{"02:00-04:00", "2026-11-24 02:00:00", "2026-11-24 02:00:00"},
		{"02:00-04:00", "2026-11-24 03:59:59", "2026-11-24 03:59:59"},
		{"02:00-04:00", "2026-11-24 04:00:00", "2026-11-25 02:00:00"},
		{"22:00-04:00", "2026-11-24 03:00:00", "2026-11-24 03:00:00"}, // opened yesterday
		{"22:00-04:00", "2026-11-24 04:00:00", "2026-11-24 22:00:00"},
		{"Mon-Fri 22:00-04:00", "2026-11-28 03:00:00", "2026-11-28 03:00:00"}, // Friday's
		{"Mon-Fri 22:00-04:00", "2026-11-28 05:00:00", "2026-11-30 22:00:00"},
		{"Sat,Sun 00:00-24:00", "2026-11-24 12:00:00", "2026-11-28 00:00:00"},
		{"Fri-Mon 01:00-02:00", "2026-11-24 12:00:00", "2026-11-27 01:00:00"},
		{"Tue 03:00-03:00", "2026-11-25 02:59:59", "2026-11-25 02:59:59"}, // a whole day
		{"00:00-24:00", "2026-11-24 12:34:56", "2026-11-24 12:34:56"},
	} {
		w, err := ParseWindow(test.window)
		if err != nil {
			t.Errorf("%s: %v", test.window, err)
			continue
		}
		at, _ := time.ParseInLocation(time.DateTime, test.at, vienna)
		got := Windows{vienna, []Window{w}}.Opens(at)
		if got := got.In(vienna).Format(time.DateTime); got != test.want {
			t.Errorf("%s at %s opens %s, want %s", test.window, test.at, got, test.want)
		}
	}
}

func TestWindowsThatAreNone(t *testing.T) {
	for _, s := range []string{"", "02:00", "2:00-4:00", "02:00-25:00", "24:00-01:00", "02:60-03:00", "Mon", "Mo 02:00-03:00",
		"Mon- 02:00-03:00", "Mon,, 02:00-03:00", "Mon Tue 02:00-03:00", "02:00-03:00 Mon", "02.00-03:00", "-1:00-03:00", "02:00-03:000"} {
		if w, err := ParseWindow(s); err == nil {
			t.Errorf("%q is taken for %+v", s, w)
		}
	}
}

// TestZeroWindowNeverOpens: it does not hang, either.
func TestZeroWindowNeverOpens(t *testing.T) {
	now := time.Now()
	if got := (Windows{Of: []Window{{}}}).Opens(now); !got.After(now) {
		t.Errorf("it opens at %v", got)
	}
}

// windowFrom is a window of an hour that opens so long from now.
func windowFrom(t *testing.T, wait time.Duration) Windows {
	t.Helper()
	from := time.Now().UTC().Add(wait).Truncate(time.Minute)
	w, err := ParseWindow(from.Format("15:04") + "-" + from.Add(time.Hour).Format("15:04"))
	if err != nil {
		t.Fatal(err)
	}
	return Windows{Of: []Window{w}}
}

func TestActivationWaitsForTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, makeRelease(t, nil, testImage(1000, 1)), commit.Policy{}, "d1")
		w := new(watcher)
		cfg := s.config(t.TempDir(), "d1", w)
		cfg.Windows = windowFrom(t, 3*time.Hour)
		opens := cfg.Windows.Opens(time.Now())
		a := run(t, cfg, w)
		s.publish()
		s.decideAndTell()
		eventually(t, time.Minute, "event", w.has(EventWaiting))
		time.Sleep(time.Until(opens) - time.Minute)
		synctest.Wait()
		if w.has(EventActivated)() {
			t.Fatal("it was activated before its window")
		}
		s.mu.Lock()
		told := slices.ContainsFunc(s.statuses, func(st discovery.Status) bool { return st.Reason == string(commit.ReasonWindow) })
		s.mu.Unlock()
		if !told {
			t.Error("the server was not told that it waits")
		}
		eventually(t, 2*time.Minute, "activation within the window", w.has(EventActivated))
		if n := slices.Index(w.kinds(), EventWaiting); slices.Contains(w.kinds()[n+1:], EventWaiting) {
			t.Errorf("it was told again: %v", w.kinds())
		}
		a.stop()
	})
}

func TestWindowAfterNotAfterIsTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		policy := commit.Policy{NotBefore: now, Window: 2 * time.Hour}
		s := newServer(t, makeRelease(t, nil, testImage(1000, 1)), policy, "d1")
		w := new(watcher)
		cfg := s.config(t.TempDir(), "d1", w)
		cfg.Windows = windowFrom(t, 4*time.Hour)
		a := run(t, cfg, w)
		s.publish()
		s.decideAndTell()
		eventually(t, 3*time.Hour, "end", w.has(EventFailed))
		if e, _ := w.find(EventFailed); e.Reason != commit.ReasonTooLate {
			t.Errorf("it failed for %s", e.Reason)
		}
		if w.has(EventActivated)() {
			t.Error("it was activated")
		}
		a.stop()
	})
}
