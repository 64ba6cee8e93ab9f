package web

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"

	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A visit is one request of a person who is logged in.
type visit struct {
	site   *Site
	w      http.ResponseWriter
	r      *http.Request
	token  store.Token
	secret string // of the session
}

// maxForm bounds a form in bytes, uploads aside: the names of 100,000 devices fit.
const maxForm = 8 << 20

// person lets those through who are logged in and have the role. Others are sent to log in, or refused.
func (s *Site) person(role store.Role, do func(*visit) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := &visit{site: s, w: w, r: r}
		var err error
		v.token, v.secret, err = s.who(r)
		switch {
		case errors.Is(err, store.ErrDenied):
			to := "/login"
			if r.Method == http.MethodGet && r.URL.Path != "/" && !v.isPart() {
				to += "?" + url.Values{"next": {r.URL.RequestURI()}}.Encode()
			}
			if v.isPart() {
				w.WriteHeader(http.StatusUnauthorized) // the page goes on when somebody loads it anew
				return
			}
			http.Redirect(w, r, to, http.StatusSeeOther)
			return
		case err == nil && !v.token.Role.Covers(role):
			err = &refusal{http.StatusForbidden, "You may not do that. It needs the role " + string(role) + "."}
		case err == nil:
			err = do(v)
		}
		if err != nil {
			v.fail(err)
		}
	})
}

// isPart reports whether a script asks for a part of a page.
func (v *visit) isPart() bool { return v.r.Header.Get("HX-Request") != "" }

// form reads a form that is not an upload.
func (v *visit) form() (url.Values, error) {
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, maxForm)
	err := v.r.ParseForm()
	return v.r.PostForm, err
}

// A frame is what every page has around its Data.
type frame struct {
	Title string
	Area  string // the entry of the menu that it belongs to
	Name  string // of the person; empty: not logged in
	Role  store.Role
	Flash string
	Data  any
}

// May reports whether the person may do what needs a role.
func (f frame) May(role string) bool { return f.Role.Covers(store.Role(role)) }

func (v *visit) frame(title string, data any) frame {
	return frame{Title: title, Area: area(v.r.URL.Path), Name: v.token.Name, Role: v.token.Role, Data: data}
}

// show answers with a page; its main part alone if a script asks, for a dialog.
func (v *visit) show(status int, page, title string, data any) {
	f, block := v.frame(title, data), "layout.html"
	if v.isPart() {
		block = "main"
	} else if v.secret != "" {
		f.Flash, _ = v.site.store.HearInSession(v.r.Context(), v.secret) // the page is worth more than its first sentence
	}
	var b bytes.Buffer
	if err := pages[page].ExecuteTemplate(&b, block, f); err != nil {
		v.site.log.Error("a page cannot be written", "page", page, "err", err)
		http.Error(v.w, "The page cannot be shown; the log of the server says why.", http.StatusInternalServerError)
		return
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.Header().Set("Vary", "HX-Request")
	v.w.WriteHeader(status)
	b.WriteTo(v.w) // who has gone away is not told
}

// fail answers with an error in words.
func (v *visit) fail(err error) {
	status, text := explain(err)
	if status == http.StatusInternalServerError && v.r.Context().Err() == nil {
		v.site.log.Error("a page failed", "path", v.r.URL.Path, "err", err)
	}
	v.show(status, "error.html", "That did not work", text)
}

// done leads to another page, which says text first.
func (v *visit) done(to, text string) error {
	if err := v.site.store.SayInSession(v.r.Context(), v.secret, text); err != nil {
		v.site.log.Warn("a person is not told what was done", "err", err) // it was done all the same
	}
	if v.isPart() { // a script follows it itself: a redirect would have it fetch that page, with its text
		v.w.Header().Set("HX-Redirect", to)
		v.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	http.Redirect(v.w, v.r, to, http.StatusSeeOther)
	return nil
}

// A question is what a person is asked before something is done: what will happen, and to what.
type question struct {
	Title  string
	Lines  []string // what will happen
	Action string   // path of the form
	Back   string
	Button string
	Danger bool
	Hidden map[string]string // fields of the form
}

func (v *visit) ask(q question) error {
	v.show(http.StatusOK, "ask.html", q.Title, q)
	return nil
}

// ofCampaign does something with the campaign that the path names.
func ofCampaign(do func(*visit, store.Campaign) error) func(*visit) error {
	return func(v *visit) error {
		id, err := manifest.ParseCampaignID(v.r.PathValue("id"))
		if err != nil {
			return store.ErrNotFound
		}
		c, err := v.site.store.Campaign(v.r.Context(), id)
		if err != nil {
			return err
		}
		return do(v, c)
	}
}
