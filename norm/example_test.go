package norm_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/norm"
)

// A whole transfer, every step by hand: this is all that a driver does. Package norm/session is one with sockets,
// files and a clock; examples/eventloop is this with losses.
func Example() {
	now := time.Unix(0, 0)
	group := netip.MustParseAddrPort("239.1.2.3:6003")
	sender, err := norm.NewSender(norm.SenderConfig{Node: 1, Group: group}, now)
	if err != nil {
		fmt.Println(err)
		return
	}
	receiver, err := norm.NewReceiver(norm.ReceiverConfig{Node: 2, Group: group})
	if err != nil {
		fmt.Println(err)
		return
	}
	image, sink := bytes.Repeat([]byte("firmware"), 1000), make([]byte, 8000)
	if _, _, err := sender.Enqueue(now, norm.Object{Size: 8000, Info: []byte("fw.bin")}); err != nil {
		fmt.Println(err)
		return
	}
	for complete := false; !complete; now = sender.Deadline() {
		sender.Advance(now)
		for io := range sender.Requests() {
			copy(io.B, image[io.Offset:])
			sender.Complete(now, io)
		}
		for {
			datagram, to, ok := sender.Poll(now, nil)
			if !ok {
				break
			}
			receiver.Handle(now, norm.Datagram{To: to, B: datagram})
			for e := range receiver.Events() {
				fmt.Println(e.Kind)
				switch e.Kind {
				case norm.ObjectOffered:
					receiver.Accept(now, e.Object)
				case norm.ObjectInfo:
					o, _ := receiver.Object(e.Object)
					fmt.Printf("  %q, %d bytes\n", o.Info, o.Size)
				}
			}
			for io := range receiver.Requests() {
				copy(sink[io.Offset:], io.B)
				receiver.Complete(now, io)
			}
		}
		for e := range receiver.Events() {
			fmt.Println(e.Kind)
			complete = complete || e.Kind == norm.ObjectComplete
		}
	}
	fmt.Println(bytes.Equal(image, sink))
	// Output:
	// sender-seen
	// object-offered
	// object-info
	//   "fw.bin", 8000 bytes
	// object-data
	// object-complete
	// true
}
