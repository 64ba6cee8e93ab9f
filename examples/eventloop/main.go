// Eventloop drives the sans-IO core by hand: a sender and a receiver in one loop, without a goroutine, a socket or a
// clock. Where this program copies bytes and sets the time, yours reads sockets, flash and a timer.
//
//	go run ./examples/eventloop
package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/norm"
)

func main() {
	start := time.Now()
	group := netip.MustParseAddrPort("239.255.0.1:6003") // only a name here
	sender := must(norm.NewSender(norm.SenderConfig{Node: 1, Group: group, Rate: 10e6, GRTT: 50 * time.Millisecond}, start))
	receiver := must(norm.NewReceiver(norm.ReceiverConfig{Node: 2, Group: group}))

	image := bytes.Repeat([]byte("firmware "), 100_000)
	flash := make([]byte, len(image))
	sender.Enqueue(start, norm.Object{Size: int64(len(image)), Info: []byte("fw.bin")})

	network := rand.New(rand.NewPCG(1, 2)) // loses one datagram in ten
	for now, complete := start, false; !complete; {
		// Time passed: the core is told, and does what was due.
		sender.Advance(now)
		receiver.Advance(now)

		for busy := true; busy; { // until there is nothing more to do at this instant
			busy = false
			// Storage: the core asks for bytes. Perform that now or later, and hand it back.
			for io := range sender.Requests() {
				copy(io.B, image[io.Offset:])
				sender.Complete(now, io)
			}
			for io := range receiver.Requests() {
				if io.Op == norm.Write {
					copy(flash[io.Offset:], io.B)
				} else { // what did not fit in memory was written before it was whole
					copy(io.B, flash[io.Offset:])
				}
				receiver.Complete(now, io)
			}
			// Network: what Poll returns is sent, what arrives is handled. NACKs go the other way.
			if pkt, to, ok := sender.Poll(now, nil); ok {
				if busy = true; network.Float64() > 0.1 {
					receiver.Handle(now, norm.Datagram{To: to, B: pkt})
				}
			}
			if pkt, to, ok := receiver.Poll(now, nil); ok {
				sender.Handle(now, norm.Datagram{To: to, B: pkt})
				busy = true
			}
			// What the application should know, and decide.
			for e := range receiver.Events() {
				switch e.Kind {
				case norm.ObjectOffered:
					receiver.Accept(now, e.Object)
				case norm.ObjectComplete:
					complete = true
				case norm.ObjectData: // one for each block
					continue
				}
				fmt.Printf("%6v  %v\n", now.Sub(start).Round(time.Millisecond), e.Kind)
			}
		}
		// Sleep until one of them has something to do: here by setting the clock.
		now = earlier(sender.Deadline(), receiver.Deadline())
	}
	tx, rx := sender.Stats(), receiver.Stats()
	fmt.Printf("%d segments sent, %d datagrams lost, %d NACKs, %d repairs; content equal: %v\n",
		tx.Data, rx.Lost, rx.NacksSent, tx.Repairs, bytes.Equal(image, flash))
}
