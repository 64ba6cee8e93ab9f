// Package session drives the sans-IO core of package norm: one loop, a socket, a clock, and files read and written
// on request of the core.
//
// [Open] starts a Session around a [Conn], usually a [udp.Conn]. One goroutine, the loop, owns the protocol state;
// methods hand it work and wait. A reader goroutine fills batches of datagrams for it, and a few workers do the file
// I/O the core asks for, so that a slow disk never keeps the loop from the socket. What the application should know
// comes out of [Session.Next], in order.
//
//	s, err := session.Open(session.Config{Conn: conn, Receive: &norm.ReceiverConfig{Node: 7, Group: group}, Offer: offer})
//	for {
//		e, err := s.Next(ctx)
//		…
//	}
package session
