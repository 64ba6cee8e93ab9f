package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// A Verdict is what a check of the doctor comes to at a device.
type Verdict string

// Verdicts, the worst last.
const (
	VerdictUnknown Verdict = "unknown" // it could not be checked
	VerdictOK      Verdict = "ok"
	VerdictWarning Verdict = "warning" // it works, and may not later
	VerdictFault   Verdict = "fault"
)

var verdicts = []Verdict{VerdictUnknown, VerdictOK, VerdictWarning, VerdictFault}

// A Finding is the outcome of one check.
type Finding struct {
	Check   string  `json:"check"`
	Verdict Verdict `json:"verdict"`
	Seen    string  `json:"seen,omitempty"`
	Remedy  string  `json:"remedy,omitempty"`
}

// An Examination is what devices are asked to find out about their network, until a time.
type Examination struct {
	ID     string
	Signed []byte // what they are told
	Until  time.Time
}

// A Diagnosis is what a device was asked for last, and has found last.
type Diagnosis struct {
	Device      string
	Examination string    // that it was asked for last
	Asked       time.Time // and when
	At          time.Time // of the findings; zero: there are none. Before Asked: they are of an earlier examination
	Worst       Finding   // the first of the worst; the zero value if there are none
	Findings    []Finding
}

// Waits reports whether the device has not answered yet.
func (d Diagnosis) Waits() bool { return d.At.Before(d.Asked) }

// Bounds on what a device may report, whatever it says: there are sixteen checks, and what they see is a line.
const (
	MaxFindings    = 32
	maxFindingName = 64
	maxFindingText = 512
)

// worst returns the first of the worst findings, once they are such as a device may report.
func worst(findings []Finding) (w Finding, err error) {
	if len(findings) == 0 || len(findings) > MaxFindings {
		return w, fmt.Errorf("%w: %d findings, want 1 to %d", ErrInvalid, len(findings), MaxFindings)
	}
	rank := -1
	for _, f := range findings {
		n := slices.Index(verdicts, f.Verdict)
		if n < 0 {
			return w, fmt.Errorf("%w: verdict %.70q", ErrInvalid, f.Verdict)
		}
		if f.Check == "" {
			return w, fmt.Errorf("%w: a finding of no check", ErrInvalid)
		}
		if err := cmp.Or(checkText("check", f.Check, maxFindingName), checkText("what was seen", f.Seen, maxFindingText), checkText("remedy", f.Remedy, maxFindingText)); err != nil {
			return w, err
		}
		if n > rank {
			rank, w = n, f
		}
	}
	return w, nil
}

// AddExamination asks devices for an examination. It is refused while another one is open ([ErrState]), as the devices of
// two would be in each other's way.
func (s *Store) AddExamination(ctx context.Context, e Examination, devices []string, by By) error {
	return s.act(ctx, func(tx *sql.Tx) error {
		var until int64
		if err := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(until), 0) FROM examinations WHERE until > $1`, nano(by.At)).Scan(&until); err != nil {
			return err
		}
		if until > 0 {
			return fmt.Errorf("%w: devices examine their network until %s", ErrState, moment(until).Format(time.RFC3339))
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO examinations (id, signed, until) VALUES ($1, $2, $3)`, e.ID, e.Signed, nano(e.Until)); err != nil {
			return err
		}
		const columns = 8
		args := make([]any, 0, columns*len(devices))
		for _, d := range slices.Sorted(slices.Values(devices)) {
			args = append(args, d, e.ID, nano(by.At), 0, "", "", "", []byte("[]"))
		}
		if _, err := s.insertRows(ctx, tx, `INSERT INTO diagnoses (device, examination, asked, at, verdict, check_name, remedy, findings) VALUES `, columns, `
			ON CONFLICT (device) DO UPDATE SET examination = excluded.examination, asked = excluded.asked`, args); err != nil {
			return err
		}
		return by.record(ctx, tx, "examination.add", "", "", map[string]any{"examination": e.ID, "devices": len(devices)})
	})
}

// OpenExaminations returns those that devices are asked for now.
func (s *Store) OpenExaminations(ctx context.Context, now time.Time) ([]Examination, error) {
	return collect(ctx, s.readers, `SELECT id, signed, until FROM examinations WHERE until > $1 ORDER BY id`, []any{nano(now)}, func(row scanner) (e Examination, err error) {
		var until int64
		err = row.Scan(&e.ID, &e.Signed, &until)
		e.Until = moment(until)
		return e, err
	})
}

// ExaminationDevices returns the devices that an examination is asked of, by name.
func (s *Store) ExaminationDevices(ctx context.Context, id string) ([]string, error) {
	return collect(ctx, s.readers, `SELECT device FROM diagnoses WHERE examination = $1 ORDER BY device`, []any{id}, func(row scanner) (device string, err error) {
		return device, row.Scan(&device)
	})
}

// Diagnose notes what a device has found. It is refused if the device was not asked for that examination ([ErrNotFound]), or
// says what no device may ([ErrInvalid]).
func (s *Store) Diagnose(ctx context.Context, device, examination string, findings []Finding, now time.Time) error {
	w, err := worst(findings)
	if err != nil {
		return err
	}
	b, err := json.Marshal(findings)
	if err != nil {
		return err
	}
	check := w.Check
	if w.Verdict == VerdictOK || w.Verdict == VerdictUnknown {
		check = ""
	}
	return s.writeLazily(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE diagnoses SET at = $1, verdict = $2, check_name = $3, remedy = $4, findings = $5
			WHERE device = $6 AND examination = $7`, nano(now), string(w.Verdict), check, w.Remedy, b, device, examination)
		return one(r, err, fmt.Errorf("%w: device %.70q was not asked for this examination", ErrNotFound, device))
	})
}

// Diagnosis returns what a device was asked for and has found last, or [ErrNotFound].
func (s *Store) Diagnosis(ctx context.Context, device string) (d Diagnosis, err error) {
	var asked, at int64
	var b []byte
	err = s.readers.QueryRowContext(ctx, `SELECT device, examination, asked, at, findings FROM diagnoses WHERE device = $1`, device).Scan(&d.Device, &d.Examination, &asked, &at, &b)
	if err != nil {
		return d, found(err, "diagnosis of device", device)
	}
	d.Asked, d.At = moment(asked), moment(at)
	if err = json.Unmarshal(b, &d.Findings); err == nil && len(d.Findings) > 0 {
		d.Worst, err = worst(d.Findings)
	}
	return d, err
}

// A DiagnosisTally is how many devices of a site have a verdict for the same check.
type DiagnosisTally struct {
	Site    string
	Waiting bool    // they were asked, and have not answered; the rest is empty
	Verdict Verdict // the worst of a device
	Check   string  // the first with it; empty: nothing is wrong
	Remedy  string  // of one of the devices
	Devices int
	Example string    // the first of the devices
	At      time.Time // of the newest
}

// DiagnosisTallies counts the devices that were asked to examine their network, by site and what they found.
func (s *Store) DiagnosisTallies(ctx context.Context) ([]DiagnosisTally, error) {
	return collect(ctx, s.readers, `SELECT site, waits, verdict, check_name, MAX(remedy), COUNT(*), MIN(device), MAX(at) FROM (
		SELECT d.site AS site, g.at < g.asked AS waits, g.device AS device, g.at AS at,
			CASE WHEN g.at < g.asked THEN '' ELSE g.verdict END AS verdict,
			CASE WHEN g.at < g.asked THEN '' ELSE g.check_name END AS check_name,
			CASE WHEN g.at < g.asked THEN '' ELSE g.remedy END AS remedy
		FROM diagnoses g JOIN devices d ON d.id = g.device) AS found
		GROUP BY site, waits, verdict, check_name ORDER BY site, waits, verdict, check_name`, nil, func(row scanner) (t DiagnosisTally, err error) {
		var at int64
		err = row.Scan(&t.Site, &t.Waiting, &t.Verdict, &t.Check, &t.Remedy, &t.Devices, &t.Example, &at)
		t.At = moment(at)
		return t, err
	})
}
