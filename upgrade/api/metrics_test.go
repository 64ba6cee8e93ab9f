package api_test

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/multicast-upgrade/tool/upgrade/api/rest"
)

// A family is one metric of an exposition.
type family struct {
	kind    string
	samples map[string]float64 // by the text of their labels
}

var (
	metricName = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
	sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)$`)
)

// parseMetrics reads the text format of Prometheus, and holds that it is what its description says: each metric once, with
// HELP and then TYPE before its samples, which are all together, and none twice.
func parseMetrics(t *testing.T, text string) map[string]family {
	t.Helper()
	families := map[string]family{}
	helped, current := "", ""
	if !strings.HasSuffix(text, "\n") {
		t.Error("the last line does not end")
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch words := strings.SplitN(line, " ", 4); {
		case strings.HasPrefix(line, "# HELP ") && len(words) == 4:
			if _, again := families[words[2]]; again || !metricName.MatchString(words[2]) {
				t.Errorf("%q: there before, or no name", line)
			}
			helped = words[2]
		case strings.HasPrefix(line, "# TYPE ") && len(words) == 4:
			if current = words[2]; current != helped || words[3] != "counter" && words[3] != "gauge" {
				t.Errorf("%q: want HELP before it, and a counter or gauge", line)
			}
			if words[3] == "counter" != strings.HasSuffix(current, "_total") {
				t.Errorf("%q: counters end in _total, and nothing else does", line)
			}
			families[current] = family{words[3], map[string]float64{}}
		default:
			m := sampleLine.FindStringSubmatch(line)
			if m == nil || m[1] != current {
				t.Errorf("%q is no sample of %s", line, current)
				continue
			}
			v, err := strconv.ParseFloat(m[3], 64)
			if _, again := families[current].samples[m[2]]; again || err != nil {
				t.Errorf("%q: there twice, or no number: %v", line, err)
			}
			families[current].samples[m[2]] = v
		}
	}
	return families
}

// What the session of a campaign counts is measured, with as many series as there are campaigns times a constant.
func TestTransportMetrics(t *testing.T) {
	r := newRig(t, plenty)
	release := r.upload("2.0")
	r.enrol("c-1")
	_, idle := r.get("/metrics", "vera")
	r.agent("c-1")
	c := r.start(draft("a \"name\"\nof two lines\\", release, "c-1"))
	r.until(c.Id, "asks", func(st rest.Status) bool { return st.Asking })
	status, text := r.get("/metrics", "vera")
	if status != 200 {
		t.Fatal(status)
	}
	before, families := parseMetrics(t, idle), parseMetrics(t, text)
	series := 0
	for name, f := range families {
		if !strings.HasPrefix(name, "normsend_transport_") {
			continue
		}
		series += len(f.samples)
		if n := len(before[name].samples); before[name].kind != f.kind || n != 0 {
			t.Errorf("%s: %d series without a campaign", name, n)
		}
	}
	if series != 27 {
		t.Errorf("%d series of one campaign's session, want 27", series)
	}
	labels := `campaign="` + c.Id + `",name="a \"name\"\nof two lines\\"`
	for name, least := range map[string]float64{
		"normsend_transport_datagrams_total": 1, "normsend_transport_bytes_total": float64(len(r.image)), "normsend_transport_rate_bits_per_second": 1,
		"normsend_transport_grtt_seconds": 1e-6, "normsend_transport_group_size": 1,
	} {
		if got, ok := families[name].samples[labels]; !ok || got < least {
			t.Errorf("%s{%s} is %v, want %v or more", name, labels, got, least)
		}
	}
	if got := families["normsend_transport_segments_total"].samples[labels+`,kind="new"`]; got < float64(len(r.image))/1400 {
		t.Errorf("%v new segments of %d bytes", got, len(r.image))
	}
	r.want(204, "", "anna", "POST /campaigns/"+c.Id+"/abort", nil)

	// The administrator's guide lists what there is.
	guide, err := os.ReadFile("../../docs/administrator.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range families {
		if !strings.Contains(string(guide), "`"+name+"`") {
			t.Errorf("docs/administrator.md does not explain %s", name)
		}
	}
}
