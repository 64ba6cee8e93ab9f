package fleet

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// PeerHandler returns what other servers on the store ask of the campaigns that this one leads, at the paths below /peer/.
func (s *Server) PeerHandler() http.Handler {
	mux := http.NewServeMux()
	devices := discovery.NewHandler(backend{s, true})
	devices.MaxWaiters = 1 // nobody polls here
	mux.Handle("/peer/v1/", http.StripPrefix("/peer", devices))
	mux.HandleFunc("POST /peer/v1/order", s.takeOrder)
	mux.HandleFunc("GET /peer/v1/campaigns/{campaign}/snapshot", func(w http.ResponseWriter, r *http.Request) {
		s.tellPeer(w, r, func(l *lead) (any, error) {
			snap, _, err := s.survey(r.Context(), l.id)
			return snap, err
		})
	})
	mux.HandleFunc("GET /peer/v1/campaigns/{campaign}/devices", func(w http.ResponseWriter, r *http.Request) {
		s.tellPeer(w, r, func(l *lead) (any, error) {
			q := r.URL.Query()
			limit, _ := strconv.Atoi(q.Get("limit"))
			_, views, err := s.survey(r.Context(), l.id)
			return pageOf(views, Cause(q.Get("cause")), store.Page{After: q.Get("after"), Limit: limit}), err
		})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pass, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !s.peers.admits(pass, time.Now()) {
			http.Error(w, "this is for servers with the server key", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// maxOrder bounds an order, in bytes.
const maxOrder = 4 << 10

func (s *Server) takeOrder(w http.ResponseWriter, r *http.Request) {
	c := http.NewResponseController(w)
	c.SetReadDeadline(time.Now().Add(peerTimeout))
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxOrder))
	var o order
	if err == nil {
		err = json.Unmarshal(b, &o)
	}
	if err != nil {
		http.Error(w, "that is no order", http.StatusBadRequest)
		return
	}
	if err := s.obey(r.Context(), o); err != nil {
		answerPeer(w, http.StatusConflict, newPeerError(err))
	}
}

// tellPeer answers about a campaign that is led here.
func (s *Server) tellPeer(w http.ResponseWriter, r *http.Request, f func(*lead) (any, error)) {
	id, err := manifest.ParseCampaignID(r.PathValue("campaign"))
	if err != nil {
		http.Error(w, "that is no campaign", http.StatusBadRequest)
		return
	}
	var v any
	if l := s.lead(id); l != nil {
		v, err = f(l)
	} else {
		err = &NotLeaderError{Campaign: id}
	}
	if err != nil {
		answerPeer(w, http.StatusConflict, newPeerError(err))
		return
	}
	answerPeer(w, http.StatusOK, v)
}

func answerPeer(w http.ResponseWriter, status int, v any) {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(peerTimeout))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// ServePeers has a TLS configuration show other servers a certificate that the server key made, whatever certificate it
// shows to others.
func ServePeers(secure *tls.Config, key *manifest.PrivateKey) error {
	own, err := discovery.ServerTLS(key, []string{peerName}, time.Now())
	if err != nil {
		return err
	}
	secure.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName == peerName {
			return &own.Certificates[0], nil
		}
		return nil, nil // one of Certificates
	}
	return nil
}
