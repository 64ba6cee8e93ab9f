package discovery

import (
	"crypto/tls"
	"net/http"
	"time"
)

// Limits of a rendezvous. A device asks for little, so whoever is slow or sends much is no device.
const (
	maxHeaderBytes = 16 << 10
	headerTimeout  = 30 * time.Second // and of the handshake: a fleet that comes back at once makes the last of its devices wait
	idleTimeout    = 2 * time.Minute
	bodyTimeout    = 30 * time.Second // of a message
	answerTimeout  = 5 * time.Minute  // of an object, which may go over a slow line

	// maxStreams is how many requests of one connection are under way: a proxy has the polls of many devices on one.
	maxStreams = 250
)

// NewServer returns an HTTP server for a rendezvous, and whatever else is served at its port. What a held poll costs is
// kept small by it: there is no timer for each request, so handlers of other paths bound the time for bodies and answers
// by themselves, see [http.ResponseController].
func NewServer(handler http.Handler, secure *tls.Config) *http.Server {
	s := &http.Server{
		Handler:           handler,
		TLSConfig:         secure,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		Protocols:         new(http.Protocols),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReceiveBufferPerConnection: 1 << 20,
			MaxReceiveBufferPerStream:     maxBody,
			SendPingTimeout:               time.Minute, // finds devices that are gone
		},
	}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(true)
	s.Protocols.SetUnencryptedHTTP2(secure == nil) // on loopback
	return s
}

// boundBody bounds the time for reading the body of a request, and what of it is left when it is answered: the server sets
// the deadline anew for the next one. A ResponseWriter that has no deadlines is none of a server.
func boundBody(w http.ResponseWriter) {
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
}

// boundAnswer bounds the time for writing an answer that is long, or is written when nobody may be there any more.
func boundAnswer(w http.ResponseWriter, r *http.Request) (end func()) {
	c := http.NewResponseController(w)
	c.SetWriteDeadline(time.Now().Add(answerTimeout))
	if r.ProtoMajor > 1 { // the deadline is one of the stream, which ends with the answer
		return func() {}
	}
	return func() { c.SetWriteDeadline(time.Time{}) }
}
