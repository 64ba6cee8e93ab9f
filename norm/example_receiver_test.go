package norm_test

import (
	"fmt"
	"log"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/norm"
)

// The driver of a Receiver supplies time, storage and the network. This one has a slice for storage; its network is a
// Sender that it asks for datagrams, of which every fifth is lost.
func ExampleReceiver() {
	now := time.Unix(0, 0)
	group := netip.MustParseAddrPort("239.1.2.3:6003")
	content := make([]byte, 100_000)
	sender, err := norm.NewSender(norm.SenderConfig{Node: 1, Group: group, GRTT: 10 * time.Millisecond}, now)
	if err != nil {
		log.Fatal(err)
	}
	if _, _, err := sender.Enqueue(now, norm.Object{Size: int64(len(content))}); err != nil {
		log.Fatal(err)
	}
	receiver, err := norm.NewReceiver(norm.ReceiverConfig{Node: 2, Group: group})
	if err != nil {
		log.Fatal(err)
	}
	storage := make([]byte, len(content))
	sent, written := 0, int64(0)
	for complete := false; !complete; {
		for io := range sender.Requests() {
			copy(io.B, content[io.Offset:])
			sender.Complete(now, io)
		}
		for b, _, ok := sender.Poll(now, nil); ok; b, _, ok = sender.Poll(now, nil) {
			if sent++; sent%5 != 0 {
				receiver.Handle(now, norm.Datagram{To: group, B: b})
			}
			for event := range receiver.Events() {
				switch event.Kind {
				case norm.ObjectOffered: // to be answered before the next Handle
					if err := receiver.Accept(now, event.Object); err != nil {
						log.Fatal(err)
					}
				case norm.ObjectData:
					written += event.Range.Length
				case norm.ObjectComplete:
					complete = true
				}
			}
			for io := range receiver.Requests() {
				if io.Op == norm.Write {
					copy(storage[io.Offset:], io.B)
				} else {
					copy(io.B, storage[io.Offset:])
				}
				receiver.Complete(now, io)
			}
		}
		for b, _, ok := receiver.Poll(now, nil); ok; b, _, ok = receiver.Poll(now, nil) {
			sender.Handle(now, norm.Datagram{To: group, B: b})
		}
		if d := receiver.Deadline(); !d.IsZero() && d.Before(sender.Deadline()) {
			now = d
		} else {
			now = sender.Deadline()
		}
		sender.Advance(now)
		receiver.Advance(now)
	}
	s := receiver.Stats()
	fmt.Println(written, "bytes;", s.Decoded > 0, "that some were decoded;", s.NacksSent > 0, "that repairs were asked for")
	// Output:
	// 100000 bytes; true that some were decoded; true that repairs were asked for
}
