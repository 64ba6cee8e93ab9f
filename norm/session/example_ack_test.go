package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/udp"
)

// onLoopback opens a session with a socket of its own on the loopback interface.
func onLoopback(at netip.AddrPort, cfg session.Config) (*session.Session, error) {
	role := udp.Receiver
	if cfg.Receive == nil {
		role = udp.Sender
	}
	conn, err := udp.Open(udp.Config{Group: at, Interface: "127.0.0.1", Role: role})
	if err != nil {
		return nil, err
	}
	if thin, ok := cfg.Conn.(*thinned); ok {
		thin.Conn, cfg.Conn = conn, thin
	} else {
		cfg.Conn = conn
	}
	return session.Open(cfg)
}

// toMemory takes any object.
func toMemory(_ norm.Handle, o norm.ReceivedObject) session.Sink { return make(RAM, o.Size) }

// A sender that wants to know: node 2 has the file, node 3 is not there and is given up after four requests.
func ExampleSession_Acknowledged() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{239, 255, byte(rand.Uint32()), byte(rand.Uint32())}), 6003)
	receiver, err := onLoopback(at, session.Config{Receive: &norm.ReceiverConfig{Node: 2, Group: at}, Offer: toMemory})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer receiver.Close()
	sender, err := onLoopback(at, session.Config{Send: &norm.SenderConfig{
		Node: 1, Group: at, GRTT: 10 * time.Millisecond, GroupSize: 10, RobustFactor: 4,
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sender.Close()

	file := bytes.Repeat([]byte("firmware"), 5000)
	h, _, err := sender.Send(ctx, norm.Object{Kind: norm.File, Size: int64(len(file)), Info: []byte("fw.bin")}, bytes.NewReader(file))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("node 2:", sender.Acknowledged(ctx, h, []norm.NodeID{2}))
	err = sender.Acknowledged(ctx, h, []norm.NodeID{2, 3})
	if silent, ok := errors.AsType[*session.NotAcknowledgedError](err); ok {
		fmt.Println("silent:", silent.Nodes)
	}
	// Output:
	// node 2: <nil>
	// silent: [3]
}

// A thinned socket loses one datagram in twenty of those that arrive.
type thinned struct {
	session.Conn
	n int
}

func (c *thinned) ReadBatch(msgs []udp.Message) (int, error) {
	n, err := c.Conn.ReadBatch(msgs)
	kept := 0
	for i := range n {
		if c.n++; c.n%20 != 0 {
			msgs[kept], msgs[i] = msgs[i], msgs[kept]
			kept++
		}
	}
	return kept, err
}

// A receiver behind a one-way path, such as a satellite link, sends nothing: what is lost is made up by parity that the sender
// sends with each block unasked.
func Example_silent() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{239, 255, byte(rand.Uint32()), byte(rand.Uint32())}), 6003)
	receiver, err := onLoopback(at, session.Config{
		Conn: &thinned{}, Receive: &norm.ReceiverConfig{Node: 2, Group: at, Silent: true}, Offer: toMemory,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer receiver.Close()
	sender, err := onLoopback(at, session.Config{Send: &norm.SenderConfig{Node: 1, Group: at, AutoParity: 16}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sender.Close()

	if _, _, err := sender.Send(ctx, norm.Object{Size: 500_000}, bytes.NewReader(make([]byte, 500_000))); err != nil {
		fmt.Println(err)
		return
	}
	for {
		e, err := receiver.Next(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		if e.Kind == norm.ObjectComplete {
			st, err := receiver.Stats(ctx)
			fmt.Printf("complete; lost some: %v, sent %d NACKs, %v\n", st.Receiver.Lost > 0, st.Receiver.NacksSent, err)
			return
		}
	}
	// Output: complete; lost some: true, sent 0 NACKs, <nil>
}
