package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/upgrade/api/rest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

const (
	claimTime  = time.Minute    // as long as a request may take; then it may be claimed again
	answerTime = 24 * time.Hour // how long its answer is kept
	maxKept    = 512 << 10      // bytes of an answer; a longer one is kept without its body
	maxKey     = 255
)

// kept is an answer as the store has it.
type kept struct {
	Type, ETag string
	Body       []byte
}

// once does a request unless it was done before under its key; then it is answered as it was. An error that is the
// server's is not kept, so that the request can be made again.
func (a *API) once(w http.ResponseWriter, r *http.Request, rule rule, key string, body []byte) {
	switch {
	case r.Method == http.MethodGet || rule.secret || rule.upload || r.URL.Path == base+"/campaigns/preview":
		a.fail(w, r, refuse(http.StatusBadRequest, rest.ReasonInvalid, "this operation takes no Idempotency-Key"))
		return
	case len(key) > maxKey:
		a.fail(w, r, refuse(http.StatusBadRequest, rest.ReasonInvalid, "the Idempotency-Key has %d bytes, and may have %d", len(key), maxKey))
		return
	}
	request := slices.Concat([]byte(r.Method+" "+r.URL.Path+" "+r.Header.Get("If-Match")+"\n"), body)
	now := time.Now()
	claim, answered, err := a.store.ClaimRequest(r.Context(), actor(r.Context()), key, request, now, claimTime)
	switch {
	case err != nil:
		a.fail(w, r, err)
		return
	case answered != nil:
		var k kept
		if err := json.Unmarshal(answered.Body, &k); err != nil {
			a.fail(w, r, err)
			return
		}
		k.write(w, answered.Status)
		return
	}
	answer := &capture{header: http.Header{}}
	a.mux.ServeHTTP(answer, r)
	ctx := context.WithoutCancel(r.Context()) // it is done, whoever still waits
	k := kept{answer.header.Get("Content-Type"), answer.header.Get("ETag"), answer.body.Bytes()}
	if answer.status >= 500 {
		err = a.store.DropRequest(ctx, claim)
	} else {
		keep := k
		if len(keep.Body) > maxKept {
			keep.Body = nil
		}
		var b []byte
		if b, err = json.Marshal(keep); err == nil {
			err = a.store.AnswerRequest(ctx, claim, store.Answer{Status: answer.status, Body: b}, now.Add(answerTime))
		}
	}
	if err != nil {
		a.cfg.Log.Error("an answer is not kept for its Idempotency-Key", "err", err)
	}
	if retry := answer.header.Get("Retry-After"); retry != "" {
		w.Header().Set("Retry-After", retry)
	}
	k.write(w, answer.status)
}

func (k kept) write(w http.ResponseWriter, status int) {
	for name, value := range map[string]string{"Content-Type": k.Type, "ETag": k.ETag} {
		if value != "" {
			w.Header().Set(name, value)
		}
	}
	w.WriteHeader(status)
	w.Write(k.Body)
}

// A capture holds an answer in memory.
type capture struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (c *capture) Header() http.Header { return c.header }

func (c *capture) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
}

func (c *capture) Write(b []byte) (int, error) {
	c.WriteHeader(http.StatusOK)
	return c.body.Write(b)
}
