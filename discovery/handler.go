package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// A Backend answers what devices ask and takes what they tell. Its methods are called concurrently. An error that is a
// *Refusal is told to the device; any other is an internal error that the device will try again after.
type Backend interface {
	Hello(ctx context.Context, h Hello) error
	Status(ctx context.Context, s Status) error
	Vote(ctx context.Context, s Statement) error
	Outcome(ctx context.Context, s Statement) error

	// Decision returns the signed decision of a wave, ErrUndecided, or ErrUnknown.
	Decision(ctx context.Context, campaign string, wave uint32) ([]byte, error)
	// Adopt takes a signed decision that a device showed.
	Adopt(ctx context.Context, campaign string, wave uint32, decision []byte) error
	// Brake returns the signed HOLD or RESUME last given, nil if none was, or ErrUnknown.
	Brake(ctx context.Context, campaign string) ([]byte, error)
	// Object returns the bytes of an object of a campaign, or ErrUnknown.
	Object(ctx context.Context, campaign string, toi uint16) (content io.ReaderAt, size int64, err error)
	// GroupKey returns the group key of a campaign to a device that proves its key, or ErrUnknown if there is none.
	GroupKey(ctx context.Context, r KeyRequest) ([]byte, error)
	// FileKeys returns the file keys of a campaign's sealed images, wrapped for the recipient that a device which proves its
	// key names, or ErrUnknown if this campaign gives none.
	FileKeys(ctx context.Context, r FileKeyRequest) ([]byte, error)
	// Timestamp returns the current time, signed.
	Timestamp() []byte
}

// A Handler serves the rendezvous.
type Handler struct {
	// MaxWaiters bounds the long polls that wait at once; one more is asked to come back later. If zero, 20,000.
	MaxWaiters int
	// Roots are the signed root documents that are served, by their versions. May be nil; not to be changed.
	Roots map[uint64][]byte

	backend Backend
	mux     *http.ServeMux
	board   *board
	turns   turns
}

// NewHandler returns a Handler that has nothing to announce yet.
func NewHandler(b Backend) *Handler {
	h := &Handler{backend: b, mux: http.NewServeMux(), board: newBoard(), turns: make(turns, atOnce)}
	h.mux.HandleFunc("GET /v1/notice", h.poll)
	h.mux.HandleFunc("POST /v1/hello", take(h, b.Hello))
	h.mux.HandleFunc("POST /v1/status", take(h, b.Status))
	h.mux.HandleFunc("POST /v1/vote", take(h, b.Vote))
	h.mux.HandleFunc("POST /v1/outcome", take(h, b.Outcome))
	h.mux.HandleFunc("POST /v1/groupkey", secret(h, b.GroupKey))
	h.mux.HandleFunc("POST /v1/filekeys", secret(h, b.FileKeys))
	h.mux.HandleFunc("GET /v1/roots/{version}", h.root)
	h.mux.HandleFunc("GET /v1/campaigns/{campaign}/decision/{wave}", h.decision)
	h.mux.HandleFunc("POST /v1/campaigns/{campaign}/decision/{wave}", h.adopt)
	h.mux.HandleFunc("GET /v1/campaigns/{campaign}/brake", h.brake)
	h.mux.HandleFunc("GET /v1/campaigns/{campaign}/objects/{toi}", h.object)
	h.serveExaminer()
	return h
}

// ServeHTTP serves one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// Publish replaces what is announced to everybody and wakes all who wait for it.
func (h *Handler) Publish(n Notice) {
	h.board.mu.Lock()
	if h.board.everyone == nil {
		h.board.everyone = &Posting{board: h.board}
	}
	h.board.mu.Unlock()
	h.board.everyone.Publish(n)
}

// Post returns a Posting by which something is announced to some devices only. A device that has several is told the one
// made last.
func (h *Handler) Post(seats map[string]Seat) *Posting { return h.board.post(seats) }

// Close ends all polls, and those that come: devices are asked to come back at moments that are spread out.
func (h *Handler) Close() { h.board.close() }

// Waits reports whether a poll of the device waits.
func (h *Handler) Waits(device string) bool { return h.board.waits(device) }

// Waiting returns how many polls wait.
func (h *Handler) Waiting() int {
	h.board.mu.Lock()
	defer h.board.mu.Unlock()
	return h.board.waiters
}

// secret returns a handler that answers a message with a secret, which nobody on the way may keep.
func secret[M message](h *Handler, f func(context.Context, M) ([]byte, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q, ok := read[M](w, r)
		if !ok {
			return
		}
		h.inTurn(w, r, func() {
			key, err := f(r.Context(), q)
			if err != nil {
				problem(w, err)
				return
			}
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Write(key)
		})
	}
}

// inTurn answers a request when it is its turn. One that is given up meanwhile, by the device or because this server ends, must
// not look like one that was done, which an answer without anything in it would.
func (h *Handler) inTurn(w http.ResponseWriter, r *http.Request, answer func()) {
	if !h.turns.take(r.Context()) {
		SendAway(w, 0)
		return
	}
	defer h.turns.end()
	answer()
}

// take returns a handler that reads a message and, when it is its turn, gives it to f.
func take[M message](h *Handler, f func(context.Context, M) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if m, ok := read[M](w, r); ok {
			h.inTurn(w, r, func() { done(w, f(r.Context(), m)) })
		}
	}
}

// read returns the message in the body; if there is none, it says so.
func read[M message](w http.ResponseWriter, r *http.Request) (m M, ok bool) {
	boundBody(w)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, long := errors.AsType[*http.MaxBytesError](err); err != nil && !long {
		// It was too slow, or is gone. To say that its message is malformed would be the last word on it.
		problem(w, away(0))
		return m, false
	}
	if err == nil {
		err = decoding.Unmarshal(body, &m)
	}
	if err != nil {
		err = &Refusal{Status: http.StatusBadRequest, Reason: "format", Detail: "the body is not the message this path takes"}
	} else {
		err = checkPeer(r.Context(), m.from())
	}
	if err != nil {
		problem(w, err)
	}
	return m, err == nil
}

// done answers a request that has no content to return.
func done(w http.ResponseWriter, err error) {
	if err != nil {
		problem(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (h *Handler) decision(w http.ResponseWriter, r *http.Request) {
	wave, ok := pathNumber(w, r, "wave", 32)
	if !ok {
		return
	}
	b, err := h.backend.Decision(r.Context(), r.PathValue("campaign"), uint32(wave))
	signed(w, b, err)
}

func (h *Handler) adopt(w http.ResponseWriter, r *http.Request) {
	wave, ok := pathNumber(w, r, "wave", 32)
	if !ok {
		return
	}
	boundBody(w)
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil {
		err = h.backend.Adopt(r.Context(), r.PathValue("campaign"), uint32(wave), b)
	}
	done(w, err)
}

func (h *Handler) brake(w http.ResponseWriter, r *http.Request) {
	b, err := h.backend.Brake(r.Context(), r.PathValue("campaign"))
	signed(w, b, err)
}

func (h *Handler) root(w http.ResponseWriter, r *http.Request) {
	version, ok := pathNumber(w, r, "version", 64)
	if !ok {
		return
	}
	b := h.Roots[version]
	if b == nil {
		problem(w, &Refusal{Status: http.StatusNotFound, Reason: "no-root", Detail: "this server has no such root"})
		return
	}
	w.Header().Set("Content-Type", "application/cbor")
	w.Write(b)
}

// signed answers with signed bytes; none means there is nothing yet.
func signed(w http.ResponseWriter, b []byte, err error) {
	if errors.Is(err, ErrUndecided) {
		b, err = nil, nil
	}
	if err != nil || b == nil {
		done(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/cose")
	w.Write(b)
}

func (h *Handler) object(w http.ResponseWriter, r *http.Request) {
	toi, ok := pathNumber(w, r, "toi", 16)
	if !ok {
		return
	}
	content, size, err := h.backend.Object(r.Context(), r.PathValue("campaign"), uint16(toi))
	if err != nil {
		problem(w, err)
		return
	}
	defer boundAnswer(w, r)()
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(content, 0, size))
}

func pathNumber(w http.ResponseWriter, r *http.Request, name string, bits int) (uint64, bool) {
	n, err := strconv.ParseUint(r.PathValue(name), 10, bits)
	if err != nil {
		problem(w, &Refusal{Status: http.StatusBadRequest, Reason: "format", Detail: "the " + name + " is not a number"})
	}
	return n, err == nil
}

// problem answers with a problem document (RFC 9457). What went wrong inside is not told to strangers.
func problem(w http.ResponseWriter, err error) {
	refusal, ok := errors.AsType[*Refusal](err)
	switch {
	case ok:
	case errors.Is(err, ErrUnknown):
		refusal = &Refusal{Status: http.StatusNotFound, Reason: "unknown", Detail: "this server does not know the campaign"}
	default:
		refusal = &Refusal{Status: http.StatusInternalServerError, Reason: "internal", Detail: "the server could not do that"}
	}
	if refusal.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(refusal.retryAfter))
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(refusal.Status)
	json.NewEncoder(w).Encode(map[string]any{"title": refusal.Reason, "detail": refusal.Detail, "status": refusal.Status})
}
