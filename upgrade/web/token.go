package web

import (
	"net/http"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A tokensPage is what tokens.html shows.
type tokensPage struct {
	Tokens []store.Token
	Pages  pager
	Roles  []store.Role // that the person may give
	New    string       // the secret that was just made, for Name
	Name   string
}

func (s *Site) tokens(v *visit) error { return s.showTokens(v, "", "") }

func (s *Site) showTokens(v *visit, name, secret string) error {
	l, err := s.store.Tokens(v.r.Context(), "", store.Page{After: v.r.URL.Query().Get("after")})
	if err != nil {
		return err
	}
	p := tokensPage{Tokens: l.Items, Pages: v.pager(l.Next), Name: name, New: secret}
	for _, role := range []store.Role{store.RoleViewer, store.RoleOperator, store.RoleApprover, store.RoleAdmin} {
		if v.token.Role.Covers(role) {
			p.Roles = append(p.Roles, role)
		}
	}
	v.show(http.StatusOK, "tokens.html", "Tokens", p)
	return nil
}

// addToken makes a token and shows its secret, this once.
func (s *Site) addToken(v *visit) error {
	form, err := v.form()
	if err != nil {
		return err
	}
	name, role := strings.TrimSpace(form.Get("name")), store.Role(form.Get("role"))
	if !v.token.Role.Covers(role) {
		return &refusal{http.StatusForbidden, "Nobody can give a token that may do more than their own."}
	}
	_, secret, err := s.store.CreateToken(v.r.Context(), name, role, store.By{Actor: v.token.Name, At: time.Now().UTC()})
	if err != nil {
		return err
	}
	return s.showTokens(v, name, secret)
}

func (s *Site) askRevokeToken(v *visit) error {
	t, err := s.store.Token(v.r.Context(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	line := "Who has it is logged out at once, and cannot log in again. What it was used for goes on."
	if t.ID == v.token.ID {
		line = "It is the token you are logged in with: you are logged out."
	}
	return v.ask(question{Title: "Revoke a token of " + t.Name, Lines: []string{line}, Button: "Revoke", Danger: true,
		Action: "/tokens/" + t.ID + "/revoke", Back: "/tokens"})
}

func (s *Site) revokeToken(v *visit) error {
	if err := s.store.RevokeToken(v.r.Context(), v.r.PathValue("id"), store.By{Actor: v.token.Name, At: time.Now().UTC()}); err != nil {
		return err
	}
	return v.done("/tokens", "The token is revoked.")
}
