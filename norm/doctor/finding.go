package doctor

// A Verdict is what a check comes to.
type Verdict string

// Verdicts.
const (
	OK      Verdict = "ok"
	Warning Verdict = "warning" // works now, and may not later or not for all
	Fault   Verdict = "fault"   // NORM does not work like this
	Unknown Verdict = "unknown" // not checked, and Seen says why
)

// A Finding is the outcome of one check.
type Finding struct {
	Check   string // its name, fixed
	Verdict Verdict
	Seen    string // what was observed
	Remedy  string // what to do, in one line; empty if OK
}

// A Report is the outcome of an examination.
type Report struct {
	Findings []Finding

	// Heard is false if neither a Responder nor any NORM node was heard, so that nothing beyond this host was checked.
	Heard bool
}

// Faults counts the findings that are faults.
func (r *Report) Faults() (n int) {
	for _, f := range r.Findings {
		if f.Verdict == Fault {
			n++
		}
	}
	return n
}
