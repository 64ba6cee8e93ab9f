package upgrade

import (
	"context"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"time"

	"github.com/multicast-upgrade/tool/commit"
)

// A controlFile tells other processes of the same user how to reach the one that runs a campaign: by HTTP on the
// loopback interface, which every system has, with a token that only who may read the state directory knows.
type controlFile struct {
	Address string
	Token   string
	Started time.Time
}

const controlTimeout = 10 * time.Second

// serveControl takes requests of other processes until ctx ends. Where the campaign is in no directory nobody looks for a
// control file.
func (c *Campaign) serveControl(ctx context.Context) (wait func(), err error) {
	dir, ok := c.state.State.(*stateDir)
	if !ok {
		return func() {}, nil
	}
	if c.control, err = c.cfg.Bind("tcp", "127.0.0.1:0"); err != nil {
		return func() {}, err
	}
	token := make([]byte, 32)
	c.cfg.random(token)
	file := controlFile{c.control.Addr().String(), hex.EncodeToString(token), time.Now().UTC()}
	if err := writeJSON(dir.fs, controlName, file); err != nil {
		return func() {}, err
	}
	stop := c.serve(ctx, c.control, controlHandler(c, file.Token), false)
	return func() {
		stop()
		if err := dir.fs.Remove(controlName); err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.cfg.Log.Warn("the control file stays behind", "err", err)
		}
	}, nil
}

// controlHandler serves what a person may do with a running campaign.
func controlHandler(c *Campaign, token string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		s, err := c.Status(r.Context())
		if err != nil {
			controlError(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(s)
	})
	for name, act := range map[string]func(context.Context) error{
		"commit": c.Approve, "abort": c.Abort, "pause": c.Pause, "hold": c.Hold, "resume": c.Resume,
	} {
		mux.HandleFunc("POST /"+name, func(w http.ResponseWriter, r *http.Request) {
			if err := act(r.Context()); err != nil {
				controlError(w, err)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		})
	}
	mux.HandleFunc("POST /approval", func(w http.ResponseWriter, r *http.Request) {
		signed, err := io.ReadAll(http.MaxBytesReader(w, r.Body, commit.MaxApproval))
		if err == nil {
			err = c.Agree(r.Context(), signed)
		}
		if err != nil {
			controlError(w, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	want := []byte("Bearer " + token)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// controlCodes name the refusals that a person at another process can act on.
var controlCodes = map[string]error{
	"not-ready": commit.ErrNotReady,
	"decided":   commit.ErrDecided,
	"restored":  commit.ErrRestored,
	"paused":    commit.ErrPaused,

	"not-approved": commit.ErrNotApproved,
}

func controlError(w http.ResponseWriter, err error) {
	code := ""
	for name, known := range controlCodes {
		if errors.Is(err, known) {
			code = name
		}
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(http.StatusConflict)
	json.NewEncoder(w).Encode(controlProblem{code, err.Error()})
}

// A controlProblem is a problem document (RFC 9457).
type controlProblem struct {
	Title  string `json:"title,omitempty"`
	Detail string `json:"detail"`
}
