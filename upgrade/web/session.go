package web

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/upgrade/store"
)

const (
	// sessionLife is how long a person stays logged in, and idleLife without asking for anything.
	sessionLife = 12 * time.Hour
	idleLife    = 2 * time.Hour
	// maxSessions bounds those in memory; when it is reached the one that was idle longest ends.
	maxSessions = 1000
)

// A session is a person who is logged in.
type session struct {
	token string // its ID in the store
	ends  time.Time
	used  time.Time
	flash string // what the next page says first
}

// sessions are kept by the hash of their secret: who reads the memory of this process cannot come in with it. They end with
// the process.
type sessions struct {
	mu  sync.Mutex // guards all below
	all map[[sha256.Size]byte]*session
}

// open returns the secret of a new session.
func (s *sessions) open(token string, now time.Time) string {
	secret := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[[sha256.Size]byte]*session{}
	}
	var oldest [sha256.Size]byte
	for key, v := range s.all {
		if v.over(now) {
			delete(s.all, key)
		} else if was := s.all[oldest]; was == nil || v.used.Before(was.used) {
			oldest = key
		}
	}
	if len(s.all) >= maxSessions {
		delete(s.all, oldest)
	}
	s.all[sha256.Sum256([]byte(secret))] = &session{token: token, ends: now.Add(sessionLife), used: now}
	return secret
}

func (s *session) over(now time.Time) bool {
	return !now.Before(s.ends) || now.Sub(s.used) >= idleLife
}

// find returns the token of a session, and uses it.
func (s *sessions) find(secret string, now time.Time) (token string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.all[sha256.Sum256([]byte(secret))]
	if v == nil || v.over(now) {
		return "", false
	}
	v.used = now
	return v.token, true
}

func (s *sessions) end(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, sha256.Sum256([]byte(secret)))
}

// say keeps a sentence for the next page of a session, and takeFlash fetches it.
func (s *sessions) say(secret, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.all[sha256.Sum256([]byte(secret))]; v != nil {
		v.flash = text
	}
}

func (s *sessions) takeFlash(secret string) (text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.all[sha256.Sum256([]byte(secret))]; v != nil {
		text, v.flash = v.flash, ""
	}
	return text
}

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
	id, ok := s.sessions.find(c.Value, time.Now())
	if !ok {
		return t, "", store.ErrDenied
	}
	t, err = s.store.Token(r.Context(), id)
	if errors.Is(err, store.ErrNotFound) || err == nil && !t.Revoked.IsZero() {
		s.sessions.end(c.Value)
		return t, "", store.ErrDenied
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
		s.setCookie(w, r, s.sessions.open(t.ID, time.Now()), int(sessionLife.Seconds()))
		http.Redirect(w, r, next(r.PostFormValue("next")), http.StatusSeeOther)
	}
}

func (s *Site) logout(v *visit) error {
	s.sessions.end(v.secret)
	s.setCookie(v.w, v.r, "", -1)
	http.Redirect(v.w, v.r, "/login", http.StatusSeeOther)
	return nil
}
