package web

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/upgrade/store"
)

// terms of sessions. They are in the store, by a hash of their secret: a person is logged in at all servers on it, and stays
// so when one is restarted.
var terms = store.Terms{Life: 12 * time.Hour, Idle: 2 * time.Hour, Most: 1000}

func (s *Site) isSecure(r *http.Request) bool { return s.secure || r.TLS != nil }

// cookieName returns the name of the cookie. With __Host- a browser takes it only by HTTPS, for this host and all of its paths.
func (s *Site) cookieName(r *http.Request) string {
	if s.isSecure(r) {
		return "__Host-normsend"
	}
	return "normsend"
}

func (s *Site) setCookie(w http.ResponseWriter, r *http.Request, secret string, seconds int) {
	http.SetCookie(w, &http.Cookie{Name: s.cookieName(r), Value: secret, Path: "/", MaxAge: seconds,
		HttpOnly: true, Secure: s.isSecure(r), SameSite: http.SameSiteStrictMode})
}

// who returns the token of the session that a request belongs to, and the secret of the session. Without one the error
// is [store.ErrDenied].
func (s *Site) who(r *http.Request) (t store.Token, secret string, err error) {
	c, err := r.Cookie(s.cookieName(r))
	if err != nil {
		return t, "", store.ErrDenied
	}
	id, err := s.store.Session(r.Context(), c.Value, time.Now(), terms.Idle)
	if err != nil {
		return t, "", err
	}
	t, err = s.store.Token(r.Context(), id)
	if errors.Is(err, store.ErrNotFound) || err == nil && !t.Revoked.IsZero() {
		return t, "", errors.Join(store.ErrDenied, s.store.EndSession(r.Context(), c.Value))
	}
	return t, c.Value, err
}

// A loginPage is what login.html shows.
type loginPage struct {
	Next  string
	Wrong bool
}

// next returns where a login goes on: a path of this site, or its start.
func next(to string) string {
	if !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.Contains(to, `\`) {
		return "/"
	}
	return to
}

func (s *Site) showLogin(w http.ResponseWriter, r *http.Request) {
	v := &visit{site: s, w: w, r: r}
	v.show(http.StatusOK, "login.html", "Log in", loginPage{Next: next(r.FormValue("next"))})
}

func (s *Site) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	v := &visit{site: s, w: w, r: r}
	t, err := s.store.Authenticate(r.Context(), strings.TrimSpace(r.PostFormValue("token")), time.Now())
	if err == nil && !t.Role.Covers(store.RoleViewer) {
		err = store.ErrDenied // a device's
	}
	switch {
	case errors.Is(err, store.ErrDenied):
		v.show(http.StatusUnauthorized, "login.html", "Log in", loginPage{Next: next(r.FormValue("next")), Wrong: true})
	case err != nil:
		v.fail(err)
	default:
		secret, err := s.store.OpenSession(r.Context(), t.ID, time.Now(), terms)
		if err != nil {
			v.fail(err)
			return
		}
		s.setCookie(w, r, secret, int(terms.Life.Seconds()))
		http.Redirect(w, r, next(r.PostFormValue("next")), http.StatusSeeOther)
	}
}

func (s *Site) logout(v *visit) error {
	if err := s.store.EndSession(v.r.Context(), v.secret); err != nil {
		return err
	}
	s.setCookie(v.w, v.r, "", -1)
	http.Redirect(v.w, v.r, "/login", http.StatusSeeOther)
	return nil
}
