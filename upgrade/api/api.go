package api

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade/api/rest"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

//go:embed openapi.yaml
var contract []byte

// Contract returns the OpenAPI document, in YAML.
func Contract() []byte { return bytes.Clone(contract) }

// A Config says what the API is in front of.
type Config struct {
	Fleet   *fleet.Server      // required
	Key     manifest.PublicKey // of the server, which people compare with what devices trust
	URL     string             // of the rendezvous, as devices know it
	Version string             // of the program
	Log     *slog.Logger       // of who did what, and what failed. If nil, nobody is told

	Limits Limits
}

// base is where the operations of the contract are.
const base = "/api/v1"

const (
	bodyTimeout   = 30 * time.Second // of a body that is held in memory, and of each part of one that is not
	answerTimeout = time.Minute
	maxUploads    = 16 // at once; each has 1 MiB in memory
	largeBody     = 1 << 20
	maxLarge      = 4    // bodies of more than that in memory at once; others wait for their turn
	maxStreams    = 1000 // at once
)

// An API is an http.Handler for the paths below /api/.
type API struct {
	cfg     Config
	fleet   *fleet.Server
	store   *store.Store
	pages   *http.ServeMux // what is for everybody: the contract, and the page about it
	mux     *http.ServeMux // the operations
	limits  limits
	uploads chan struct{} // holds one for each that is under way
	streams chan struct{}
	large   chan struct{}
	// heartbeat is the time after which a stream on which nothing was said says that it is alive, and after which an audit
	// trail to which other servers write is looked at.
	heartbeat time.Duration
}

// New returns the API of a fleet server.
func New(cfg Config) *API {
	cfg.Log = cmp.Or(cfg.Log, slog.New(slog.DiscardHandler))
	a := &API{
		cfg: cfg, fleet: cfg.Fleet, store: cfg.Fleet.Store(), pages: http.NewServeMux(), mux: http.NewServeMux(),
		limits: newLimits(cfg.Limits), uploads: make(chan struct{}, maxUploads), streams: make(chan struct{}, maxStreams), large: make(chan struct{}, maxLarge),
		heartbeat: 15 * time.Second,
	}
	a.pages.HandleFunc("GET /api/openapi.yaml", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		w.Write(contract)
	})
	a.pages.HandleFunc("GET /api/{$}", page)
	strict := rest.NewStrictHandlerWithOptions(server{a}, nil, rest.StrictHTTPServerOptions{
		RequestErrorHandlerFunc:  func(w http.ResponseWriter, r *http.Request, err error) { a.fail(w, r, malformed(err)) },
		ResponseErrorHandlerFunc: a.fail,
	})
	rest.HandlerWithOptions(strict, rest.StdHTTPServerOptions{BaseURL: base, BaseRouter: a.mux,
		ErrorHandlerFunc: func(w http.ResponseWriter, r *http.Request, err error) { a.fail(w, r, malformed(err)) }})
	return a
}

// malformed is for what the generated code cannot read.
func malformed(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return err
	}
	return refuse(http.StatusBadRequest, rest.ReasonFormat, "%v", err)
}

// ServeHTTP serves one request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	if _, pattern := a.pages.Handler(r); pattern != "" {
		a.pages.ServeHTTP(w, r)
		return
	}
	_, pattern := a.mux.Handler(r)
	rule, ok := rules[strings.Replace(pattern, base, "", 1)]
	told := &recorder{ResponseWriter: w}
	began := time.Now()
	token, err := a.admit(r, rule)
	if err == nil && !ok {
		err = refuse(http.StatusNotFound, rest.ReasonNotFound, "there is no such operation: %s %s", r.Method, r.URL.Path)
	}
	if err == nil {
		a.answer(told, r.WithContext(context.WithValue(r.Context(), holder{}, token)), rule)
	} else {
		a.fail(told, r, err)
	}
	if r.Method != http.MethodGet || told.status == http.StatusUnauthorized {
		a.cfg.Log.Info("request", "actor", token.Name, "role", string(token.Role), "method", r.Method, "path", r.URL.Path, "status", told.status,
			"address", r.RemoteAddr, "seconds", time.Since(began).Seconds())
	}
}

// answer has an operation done by a token that may do it.
func (a *API) answer(w http.ResponseWriter, r *http.Request, rule rule) {
	c := http.NewResponseController(w)
	switch {
	case rule.upload:
		r.Body = &patient{r.Body, c}
	case !rule.stream:
		c.SetReadDeadline(time.Now().Add(bodyTimeout)) // the server sets it anew for the next request
		c.SetWriteDeadline(time.Now().Add(answerTimeout))
		defer c.SetWriteDeadline(time.Time{})
	}
	var body []byte
	if rule.limit > 0 {
		var err error
		if r.ContentLength > rule.limit {
			a.fail(w, r, &http.MaxBytesError{Limit: rule.limit})
			return
		}
		if rule.limit > largeBody && (r.ContentLength < 0 || r.ContentLength > largeBody) {
			select {
			case a.large <- struct{}{}:
				defer func() { <-a.large }()
			case <-r.Context().Done():
				return
			}
		}
		if body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, rule.limit)); err == nil && rule.body != nil {
			err = decode(body, rule.body())
		}
		if err != nil {
			a.fail(w, r, err)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	if key := r.Header.Get("Idempotency-Key"); key != "" {
		a.once(w, r, rule, key, body)
		return
	}
	a.mux.ServeHTTP(w, r)
}

// patient is a body that may take as long as it will, while it goes on.
type patient struct {
	io.ReadCloser
	c *http.ResponseController
}

func (b *patient) Read(p []byte) (int, error) {
	b.c.SetReadDeadline(time.Now().Add(bodyTimeout))
	return b.ReadCloser.Read(p)
}

// decode reads JSON that has no fields which the contract does not know: a name that is misspelt has to be told.
func decode(body []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return refuse(http.StatusBadRequest, rest.ReasonFormat, "the body: %v", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return refuse(http.StatusBadRequest, rest.ReasonFormat, "the body: there is something after the JSON")
	}
	return nil
}

// convert brings a value to another type that has the same JSON.
func convert[T any](v any) (to T, err error) {
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &to)
	}
	return to, err
}

// A recorder notes the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
