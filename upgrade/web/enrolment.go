package web

import (
	"net/http"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/upgrade/store"
)

// An enrolmentsPage is what enrolments.html shows.
type enrolmentsPage struct {
	Enrolments []store.Enrolment
	Pages      pager
	Sort       sorting
	Now        time.Time
	Form       draftForm // what a person wrote, if something in it is wrong
	Wrong      []string
	New        *store.Enrolment // that was just made, and its
	Secret     string
}

// IsOpen reports whether a device may still use it.
func (p enrolmentsPage) IsOpen(e store.Enrolment) bool {
	return e.Used.At.IsZero() && e.Expires.After(p.Now)
}

// usualEnrolment is how long an enrolment is good for, if a person says nothing else.
const usualEnrolment = 7 * 24 * time.Hour

func (s *Site) enrolments(v *visit) error {
	return s.showEnrolments(v, http.StatusOK, enrolmentsPage{})
}

func (s *Site) showEnrolments(v *visit, status int, p enrolmentsPage) error {
	p.Now, p.Sort = time.Now(), v.sorting("-created")
	l, err := s.store.Enrolments(v.r.Context(), p.Sort.page(v, 100))
	if err != nil {
		return err
	}
	p.Enrolments, p.Pages = l.Items, v.pager(l.Next)
	v.show(status, "enrolments.html", "Enrolment", p)
	return nil
}

// addEnrolment makes an enrolment and shows its secret, this once.
func (s *Site) addEnrolment(v *visit) error {
	form, err := v.form()
	if err != nil {
		return err
	}
	r := &reader{draftForm: draftForm{form}}
	span := r.span("valid", "Good for")
	if span == 0 {
		span = usualEnrolment
	}
	now := time.Now().UTC()
	e := store.Enrolment{Device: r.text("device"), Site: r.text("site"), Tags: fields(r.Get("tags")), Expires: now.Add(span)}
	if len(r.wrong) == 0 {
		e, secret, err := s.store.CreateEnrolment(v.r.Context(), e, store.By{Actor: v.token.Name, At: now})
		if err == nil {
			return s.showEnrolments(v, http.StatusOK, enrolmentsPage{New: &e, Secret: secret})
		}
		status, text := explain(err)
		if status == http.StatusInternalServerError {
			return err
		}
		r.complain("%s", text)
	}
	return s.showEnrolments(v, http.StatusUnprocessableEntity, enrolmentsPage{Form: r.draftForm, Wrong: r.wrong})
}

func (s *Site) askRevokeEnrolment(v *visit) error {
	whom := "Whoever has it cannot let a device in with it any more."
	if device := strings.TrimSpace(v.r.FormValue("device")); device != "" {
		whom = "It was made for device " + device + ", which cannot come in with it any more."
	}
	return v.ask(question{Title: "Revoke an enrolment", Lines: []string{whom}, Button: "Revoke", Danger: true,
		Action: v.r.URL.Path, Back: "/enrolments"})
}

func (s *Site) revokeEnrolment(v *visit) error {
	if err := s.store.RevokeEnrolment(v.r.Context(), v.r.PathValue("id"), store.By{Actor: v.token.Name, At: time.Now().UTC()}); err != nil {
		return err
	}
	return v.done("/enrolments", "The enrolment is revoked.")
}
