package web

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A Config says what a Site shows.
type Config struct {
	Fleet *fleet.Server // required
	// Secure is whether browsers come by HTTPS although this process does not speak it, as behind a proxy: the cookie
	// is for HTTPS only. It is in any case when the request came by TLS.
	Secure bool
	Log    *slog.Logger // if nil, nobody is told
}

// A Site is the page. It serves all paths below /. Pages that are kept up to date end with the context of their request:
// who wants to shut an [http.Server] down ends its BaseContext.
type Site struct {
	fleet   *fleet.Server
	store   *store.Store
	secure  bool
	log     *slog.Logger
	streams chan struct{} // a place for each of those that may be open at once
	handler http.Handler
}

// maxStreams bounds the pages that are kept up to date at once; the others stand still until they are loaded anew.
const maxStreams = 500

// New returns the page of a fleet server.
func New(cfg Config) (*Site, error) {
	if cfg.Fleet == nil {
		return nil, errors.New("web: a page needs a fleet server")
	}
	s := &Site{
		fleet: cfg.Fleet, store: cfg.Fleet.Store(), secure: cfg.Secure, log: cfg.Log,
		streams: make(chan struct{}, maxStreams),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	for pattern, route := range s.routes() {
		role, ok := roleFor(route.operation)
		if !ok {
			return nil, fmt.Errorf("web: the API has no operation %q", route.operation)
		}
		mux.Handle(pattern, s.person(role, route.do))
	}
	mux.HandleFunc("GET /login", s.showLogin)
	mux.HandleFunc("POST /login", s.login)
	mux.Handle("GET /static/", s.staticFiles())
	mux.Handle("/", s.person(store.RoleViewer, func(*visit) error { return store.ErrNotFound }))
	s.handler = s.protect(mux)
	return s, nil
}

func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// A route is what a path does. It stands for an operation of the REST API, and needs the same role.
type route struct {
	operation string
	do        func(*visit) error
}

func (s *Site) routes() map[string]route {
	const events, releases, devices, campaigns, tokens = "GET /events", "GET /releases", "GET /devices", "GET /campaigns", "GET /tokens"
	const enrolments, draft = "GET /enrolments", "POST /campaigns"
	routes := map[string]route{
		"GET /{$}":     {events, s.overview},
		"GET /live":    {"GET /events/stream", s.overviewLive},
		"GET /audit":   {events, s.audit},
		"POST /logout": {events, s.logout},

		"GET /releases":              {releases, s.releases},
		"POST /releases":             {"POST /releases", s.addRelease},
		"GET /releases/{id}":         {"GET /releases/{release}", s.release},
		"POST /releases/{id}/images": {"PUT /releases/{release}/images/{image}", s.addImages},
		"GET /releases/{id}/remove":  {"DELETE /releases/{release}", s.askRemoveRelease},
		"POST /releases/{id}/remove": {"DELETE /releases/{release}", s.removeRelease},

		"GET /devices":             {devices, s.devices},
		"GET /devices/{id}":        {"GET /devices/{device}", s.device},
		"POST /devices/{id}/place": {"PUT /devices/{device}/place", s.placeDevice},

		"GET /network":  {"GET /diagnoses", s.network},
		"POST /network": {"POST /examinations", s.examine},

		"GET /enrolments":              {enrolments, s.enrolments},
		"POST /enrolments":             {"POST /enrolments", s.addEnrolment},
		"GET /enrolments/{id}/revoke":  {"DELETE /enrolments/{enrolment}", s.askRevokeEnrolment},
		"POST /enrolments/{id}/revoke": {"DELETE /enrolments/{enrolment}", s.revokeEnrolment},

		"GET /campaigns":              {campaigns, s.campaigns},
		"GET /campaigns/new":          {draft, s.newCampaign},
		"POST /campaigns/new":         {draft, s.rewriteCampaign},
		"POST /campaigns/preview":     {"POST /campaigns/preview", s.previewCampaign},
		"POST /campaigns/review":      {draft, s.reviewCampaign},
		"POST /campaigns":             {draft, s.createCampaign},
		"GET /campaigns/{id}":         {"GET /campaigns/{campaign}", ofCampaign(s.campaign)},
		"GET /campaigns/{id}/live":    {"GET /events/stream", ofCampaign(s.campaignLive)},
		"GET /campaigns/{id}/series":  {"GET /campaigns/{campaign}/series", ofCampaign(s.series)},
		"GET /campaigns/{id}/devices": {"GET /campaigns/{campaign}/devices", ofCampaign(s.campaignDevices)},
		"GET /campaigns/{id}/sites":   {"GET /campaigns/{campaign}/sites", ofCampaign(s.campaignSites)},
		"GET /campaigns/{id}/change":  {"PUT /campaigns/{campaign}", ofCampaign(s.changeCampaign)},

		"POST /campaigns/{id}/approvals": {"POST /campaigns/{campaign}/approvals", ofCampaign(s.addApproval)},
		"GET /campaigns/{id}/evidence":   {"GET /campaigns/{campaign}/evidence", ofCampaign(s.evidence)},

		"GET /tokens":              {tokens, s.tokens},
		"POST /tokens":             {"POST /tokens", s.addToken},
		"GET /tokens/{id}/revoke":  {"DELETE /tokens/{token}", s.askRevokeToken},
		"POST /tokens/{id}/revoke": {"DELETE /tokens/{token}", s.revokeToken},
	}
	for verb, deed := range deviceDeeds {
		routes["GET /devices/{id}/"+verb] = route{deed.operation, func(v *visit) error { return s.askDevice(v, verb, deed) }}
		routes["POST /devices/{id}/"+verb] = route{deed.operation, func(v *visit) error { return s.doDevice(v, deed) }}
	}
	for verb, deed := range campaignDeeds {
		routes["GET /campaigns/{id}/"+verb] = route{deed.operation, ofCampaign(func(v *visit, c store.Campaign) error { return s.askCampaign(v, c, verb, deed) })}
		routes["POST /campaigns/{id}/"+verb] = route{deed.operation, ofCampaign(func(v *visit, c store.Campaign) error { return s.doCampaign(v, c, verb, deed) })}
	}
	return routes
}

// protect keeps other sites out.
func (s *Site) protect(h http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.refuse(w, r, &refusal{http.StatusForbidden, "Another site had your browser send this, so it was not done. If it was you, do it on this page."})
	}))
	h = cross.Handler(h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range securityHeaders {
			w.Header().Set(name, value)
		}
		h.ServeHTTP(w, r)
	})
}

// refuse answers a request of nobody in particular with an error in words, on a page.
func (s *Site) refuse(w http.ResponseWriter, r *http.Request, err error) {
	(&visit{site: s, w: w, r: r}).fail(err)
}

// securityHeaders go with every answer. Nothing here needs inline scripts or styles, or anything from elsewhere.
var securityHeaders = map[string]string{
	"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
	"X-Content-Type-Options":       "nosniff",
	"Referrer-Policy":              "same-origin", // what comes after it is refused a form with Origin: null
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Permissions-Policy":           "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
	"Cache-Control":                "no-store",
}
