package fleet

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
)

// PeerHandler returns what other servers on the store ask of the campaigns that this one leads, at the paths below /peer/.
func (s *Server) PeerHandler() http.Handler {
	mux := http.NewServeMux()
	devices := discovery.NewHandler(backend{s, true})
	devices.MaxWaiters = 1 // nobody polls here
	mux.Handle("/peer/v1/", http.StripPrefix("/peer", devices))
	mux.HandleFunc("POST /peer/v1/order", func(w http.ResponseWriter, r *http.Request) {
		takePeer(w, r, func(o order) (any, error) { return struct{}{}, s.obey(r.Context(), o) })
	})
	mux.HandleFunc("POST /peer/v1/campaigns/{campaign}", func(w http.ResponseWriter, r *http.Request) {
		takePeer(w, r, func(q question) (any, error) { return s.answerHere(r.Context(), r.PathValue("campaign"), q) })
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

// maxAsked bounds what one server asks of another, in bytes.
const maxAsked = 16 << 10

// takePeer reads what another server asks, and answers with what f returns.
func takePeer[T any](w http.ResponseWriter, r *http.Request, f func(T) (any, error)) {
	c := http.NewResponseController(w)
	c.SetReadDeadline(time.Now().Add(peerTimeout))
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAsked))
	var asked T
	if err == nil {
		err = json.Unmarshal(b, &asked)
	}
	if err != nil {
		http.Error(w, "that cannot be read", http.StatusBadRequest)
		return
	}
	status := http.StatusOK
	v, err := f(asked)
	if err != nil {
		status, v = http.StatusConflict, newPeerError(err)
	}
	c.SetWriteDeadline(time.Now().Add(peerTimeout))
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
