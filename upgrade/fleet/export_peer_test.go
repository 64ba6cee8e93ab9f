package fleet

import (
	"context"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/multicast-upgrade/tool/upgrade/store"
)

// Pass returns what a server shows to others at a time.
func (s *Server) Pass(now time.Time) (string, error) {
	p := peers{key: s.cfg.Key}
	return p.showPass(now)
}

// SignedTime returns the time as devices are told it, in the shape of a pass.
func (s *Server) SignedTime() string { return base64.RawURLEncoding.EncodeToString(s.clock.Now()) }

// AskPeer orders a server to commit a campaign that there is not.
func (s *Server) AskPeer(ctx context.Context, to store.Owner) error {
	defer s.peers.close()
	return s.peers.ask(ctx, to, http.MethodPost, "/order", order{Action: "campaign.commit", Actor: "bob"}, nil)
}
