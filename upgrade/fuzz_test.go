package upgrade

import (
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
)

// FuzzReadTargets: what a devices file is read as can be named, and no device or key is there twice.
func FuzzReadTargets(f *testing.F) {
	f.Add("phone-0017  berlin  device:ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\nphone-18 - -\n# none\n")
	f.Add("a\na\n")
	f.Add(strings.Repeat("x", 2000))
	f.Fuzz(func(t *testing.T, in string) {
		targets, err := ReadTargets(strings.NewReader(in), "devices")
		if (err == nil) != (len(targets) > 0) {
			t.Fatalf("%d targets, %v", len(targets), err)
		}
		devices, keys := map[string]bool{}, map[manifest.PublicKey]bool{}
		for _, d := range targets {
			if !manifest.ValidName(d.Device) || d.Site != "" && !manifest.ValidName(d.Site) || devices[d.Device] || !d.Key.IsZero() && keys[d.Key] {
				t.Fatalf("%+v", d)
			}
			devices[d.Device], keys[d.Key] = true, true
		}
		if err != nil && (len(err.Error()) > maxTargetErrors*1500 || strings.Count(err.Error(), "\n") >= maxTargetErrors) {
			t.Fatalf("an error of %d bytes", len(err.Error()))
		}
	})
}

// FuzzWindow: a window opens at a time that is not before the one asked about, within a week, and then it is open.
func FuzzWindow(f *testing.F) {
	for _, s := range []string{"02:00-04:00", "Mon-Fri 22:00-04:00", "Sat,Sun 00:00-24:00", "Fri-Mon 10:00-10:00"} {
		f.Add(s, int64(1_800_000_000))
	}
	f.Fuzz(func(t *testing.T, s string, at int64) {
		w, err := ParseWindow(s)
		if err != nil {
			return
		}
		now := time.Unix(at%(1<<33), 0).UTC()
		opens := Windows{Of: []Window{w}}.Opens(now)
		if opens.Before(now) || opens.Sub(now) > 8*24*time.Hour {
			t.Fatalf("%q at %v opens at %v", s, now, opens)
		}
		if again := (Windows{Of: []Window{w}}).Opens(opens); !again.Equal(opens) {
			t.Errorf("%q opens at %v, and then at %v", s, opens, again)
		}
	})
}
