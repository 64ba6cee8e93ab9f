package api

import (
	"context"

	"github.com/multicast-upgrade/tool/upgrade/api/rest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

func tokenOf(t store.Token) rest.Token {
	return rest.Token{Id: t.ID, Name: t.Name, Role: rest.Role(t.Role), Created: byOf(t.Created), LastUsed: t.LastUsed, Revoked: t.Revoked}
}

func (s server) ListTokens(ctx context.Context, r rest.ListTokensRequestObject) (rest.ListTokensResponseObject, error) {
	page, err := pageOf(r.Params.After, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	l, err := s.store.Tokens(ctx, r.Params.Name, page)
	return rest.ListTokens200JSONResponse{Items: each(l.Items, tokenOf), Next: l.Next}, err
}

func (s server) CreateToken(ctx context.Context, r rest.CreateTokenRequestObject) (rest.CreateTokenResponseObject, error) {
	t, secret, err := s.store.CreateToken(ctx, r.Body.Name, store.Role(r.Body.Role), s.by(ctx))
	return rest.CreateToken201JSONResponse{Token: tokenOf(t), Secret: secret}, err
}

func (s server) RevokeToken(ctx context.Context, r rest.RevokeTokenRequestObject) (rest.RevokeTokenResponseObject, error) {
	return rest.RevokeToken204Response{}, s.store.RevokeToken(ctx, r.Token, s.by(ctx))
}
