package discovery

import (
	"context"
	"crypto/tls"
	"net/http"
	"strconv"
)

// peerKey is the key of a peer's name in the context of its requests.
type peerKey struct{}

// RequireCertificate lets through to next only who has shown a certificate in the handshake, which the TLS configuration
// has to verify, and has the Handler take it by its name: messages and polls of another device are refused. The name is
// the certificate's first DNS name, or else its common name.
func RequireCertificate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := certificateName(r.TLS)
		if name == "" {
			problem(w, &Refusal{Status: http.StatusForbidden, Reason: "certificate", Detail: "this server wants a client certificate of an authority that it knows, with the device's name"})
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), peerKey{}, name)))
	})
}

func certificateName(state *tls.ConnectionState) string {
	if state == nil || len(state.VerifiedChains) == 0 {
		return ""
	}
	leaf := state.PeerCertificates[0]
	if len(leaf.DNSNames) > 0 {
		return leaf.DNSNames[0]
	}
	return leaf.Subject.CommonName
}

// checkPeer refuses who speaks for another device than its certificate says.
func checkPeer(ctx context.Context, device string) error {
	if name, ok := ctx.Value(peerKey{}).(string); ok && name != device {
		return &Refusal{Status: http.StatusForbidden, Reason: "not-target", Detail: "the client certificate is that of " + strconv.Quote(name) + ", another device"}
	}
	return nil
}

// A message says which device it is from.
type message interface{ from() string }

func (h Hello) from() string          { return h.Device }
func (s Status) from() string         { return s.Device }
func (s Statement) from() string      { return s.Device }
func (r KeyRequest) from() string     { return r.Device }
func (r FileKeyRequest) from() string { return r.Device }
