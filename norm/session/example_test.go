package session_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/udp"
)

// RAM is a Sink in memory; an *os.File is one on disk.
type RAM []byte

func (m RAM) WriteAt(b []byte, off int64) (int, error) { return copy(m[off:], b), nil }
func (m RAM) ReadAt(b []byte, off int64) (int, error)  { return copy(b, m[off:]), nil }

// A sender and a receiver, each with a socket of its own, on the loopback interface.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{239, 255, byte(rand.Uint32()), byte(rand.Uint32())}), 6003)

	in, err := udp.Open(udp.Config{Group: at, Interface: "127.0.0.1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	var sink RAM
	receiver, err := session.Open(session.Config{
		Conn:    in,
		Receive: &norm.ReceiverConfig{Node: 2, Group: at},
		Offer: func(_ norm.Handle, o norm.ReceivedObject) session.Sink {
			if o.Size > 1<<20 {
				return nil // refused
			}
			sink = make(RAM, o.Size)
			return sink
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer receiver.Close()

	out, err := udp.Open(udp.Config{Group: at, Interface: "127.0.0.1", Role: udp.Sender})
	if err != nil {
		fmt.Println(err)
		return
	}
	sender, err := session.Open(session.Config{Conn: out, Send: &norm.SenderConfig{Node: 1, Group: at, Rate: 10e6}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sender.Close()

	image := bytes.Repeat([]byte("firmware"), 5000)
	if _, _, err := sender.Send(ctx, norm.Object{Kind: norm.File, Size: int64(len(image)), Info: []byte("fw.bin")}, bytes.NewReader(image)); err != nil {
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
			o, err := receiver.Object(ctx, e.Object)
			fmt.Printf("%s from node %d, %d bytes, content equal: %v, %v\n", o.Info, e.Sender, o.Size, bytes.Equal(sink, image), err)
			return
		}
	}
	// Output: fw.bin from node 1, 40000 bytes, content equal: true, <nil>
}
