package norm_test

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/norm"
)

// Messages through a stream, from one state machine to the other, without a network between them.
func ExampleSender_OpenStream() {
	now, group := time.Unix(0, 0), netip.MustParseAddrPort("239.1.2.3:6003")
	s, _ := norm.NewSender(norm.SenderConfig{Node: 1, Group: group}, now)
	r, _ := norm.NewReceiver(norm.ReceiverConfig{Node: 2, Group: group})

	h, _, err := s.OpenStream(now, norm.StreamConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, message := range []string{"one", "two"} {
		s.Write(now, h, []byte(message))         // all of it: there is room
		s.EndMessage(now, h)                     // the next byte begins another one
		s.FlushStream(now, h, norm.FlushPassive) // now, in a short segment
	}
	s.CloseStream(now, h)

	for range 5 { // a probe, two segments, the end, a NORM_CMD(FLUSH)
		now = now.Add(10 * time.Millisecond)
		b, _, _ := s.Poll(now, nil)
		r.Handle(now, norm.Datagram{From: netip.MustParseAddrPort("192.0.2.1:6003"), To: group, B: b})
		for e := range r.Events() {
			switch e.Kind {
			case norm.ObjectOffered:
				r.Accept(now, e.Object)
			case norm.StreamReadable:
				buf := make([]byte, 100)
				piece, _ := r.ReadStream(now, e.Object, buf)
				fmt.Printf("%q at %d, begins a message: %v, end: %v\n", buf[:piece.Len], piece.Offset, piece.Start, piece.End)
				r.ReadStream(now, e.Object, buf) // until there is no more
			}
		}
	}
	// Output:
	// "one" at 0, begins a message: true, end: false
	// "two" at 3, begins a message: true, end: false
	// "" at 6, begins a message: false, end: true
}
