package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/upgrade/api/rest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// holder is the key of a request's token in its context.
type holder struct{}

// of returns the token of a request that was admitted.
func of(ctx context.Context) store.Token {
	t, _ := ctx.Value(holder{}).(store.Token)
	return t
}

// actor returns whose request it is, for the audit trail.
func actor(ctx context.Context) string { return of(ctx).Name }

// admit lets a request in, by its address, its token and the token's role.
func (a *API) admit(r *http.Request, rule rule) (store.Token, error) {
	address := addressOf(r)
	if wait := a.limits.addresses.take(address); wait > 0 {
		return store.Token{}, tooMany(wait)
	}
	t, err := a.Authenticate(r)
	if err != nil {
		return t, err
	}
	if wait := a.limits.tokens.take(t.ID); wait > 0 {
		return t, tooMany(wait)
	}
	if !rule.allows(t.Role) {
		return t, refuse(http.StatusForbidden, rest.ReasonRole, "a token of role %s may not do that", t.Role)
	}
	return t, nil
}

// Authenticate returns the token that a request carries in its header. Who guesses is slowed down.
func (a *API) Authenticate(r *http.Request) (store.Token, error) {
	denied := refuse(http.StatusUnauthorized, rest.ReasonToken, "the token is missing, unknown or revoked")
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || secret == "" {
		return store.Token{}, denied
	}
	address := addressOf(r)
	if wait := a.limits.guesses.wait(address); wait > 0 {
		return store.Token{}, tooMany(wait)
	}
	t, err := a.store.Authenticate(r.Context(), secret, time.Now())
	if errors.Is(err, store.ErrDenied) {
		a.limits.guesses.take(address)
		return t, denied
	}
	return t, err
}

func tooMany(wait time.Duration) error {
	r := refuse(http.StatusTooManyRequests, rest.ReasonTooMany, "too many requests; come back in %v", wait.Round(time.Millisecond))
	r.retry = wait
	return r
}

// may refuses a device that asks about another.
func may(ctx context.Context, device string) error {
	if t := of(ctx); t.Role == store.RoleDevice && t.Name != device {
		return refuse(http.StatusForbidden, rest.ReasonRole, "this token is for device %s alone", t.Name)
	}
	return nil
}
