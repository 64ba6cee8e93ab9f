package session_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/udp"
)

// Messages through a stream, each with its length before it, on the loopback interface.
func ExampleMessageReader() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{239, 255, byte(rand.Uint32()), byte(rand.Uint32())}), 6003)
	open := func(role udp.Role, cfg session.Config) *session.Session {
		conn, err := udp.Open(udp.Config{Group: at, Interface: "127.0.0.1", Role: role})
		if err != nil {
			panic(err)
		}
		cfg.Conn = conn
		s, err := session.Open(cfg)
		if err != nil {
			panic(err)
		}
		return s
	}
	streams := make(chan *session.StreamReader, 1)
	receiver := open(udp.Receiver, session.Config{
		Receive: &norm.ReceiverConfig{Node: 2, Group: at},
		OfferStream: func(r *session.StreamReader, o norm.ReceivedObject) bool {
			streams <- r
			return true
		},
	})
	defer receiver.Close()
	sender := open(udp.Sender, session.Config{Send: &norm.SenderConfig{Node: 1, Group: at, GRTT: 10 * time.Millisecond}})
	defer sender.Close()

	w, err := sender.OpenStream(ctx, norm.StreamConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	out := session.NewMessageWriter(w)
	out.Flush = true // each is worth a datagram of its own
	for _, m := range []string{"open the valve", "close the valve"} {
		if err := out.WriteMessage(ctx, []byte(m)); err != nil {
			fmt.Println(err)
		}
	}
	w.Close()

	in := session.NewMessageReader(<-streams)
	for {
		m, err := in.ReadMessage(ctx)
		if err == io.EOF {
			return
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s\n", m)
	}
	// Output:
	// open the valve
	// close the valve
}
