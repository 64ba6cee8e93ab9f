package session_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/udp"
)

// TestPolledSocket receives by a socket that the loop may poll, twice, with a pause in between in which the reader has it
// back, and closes the session while datagrams keep coming.
func TestPolledSocket(t *testing.T) {
	at := netip.AddrPortFrom(netip.MustParseAddr("239.255.77.65"), freePort(t, "127.0.0.1"))
	needMulticast(t, at, "127.0.0.1")
	cfg, image := receiving(10), content(2<<20, 1)
	cfg.Group = at
	sink := make(memory, len(image))
	r := openReceiver(t, openUDP(t, udp.Config{Group: at, Interface: "127.0.0.1"}), cfg, sink)
	to := sending(1)
	to.Group, to.Rate = at, 200e6
	s := open(t, session.Config{Conn: openUDP(t, udp.Config{Group: at, Interface: "127.0.0.1", Role: udp.Sender}), Send: to})
	for range 2 {
		clear(sink)
		send(t, s, image)
		await(t, r, norm.ObjectComplete)
		if !bytes.Equal(sink, image) {
			t.Error("an object arrived with other content")
		}
	}
	send(t, s, image)
	await(t, r, norm.ObjectOffered)
	if err := r.Close(); err != nil { // returns: nobody waits for anybody
		t.Error(err)
	}
}
