package norm_test

import (
	"fmt"
	"log"
	"net/netip"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// The driver of a Sender supplies time, storage and the network. This one has a clock that it sets itself, a string for
// storage, and prints what it would send.
func ExampleSender() {
	now := time.Unix(0, 0)
	sender, err := norm.NewSender(norm.SenderConfig{
		Node:  1,
		Group: netip.MustParseAddrPort("239.1.2.3:6003"),
		Rate:  1e6,
	}, now)
	if err != nil {
		log.Fatal(err)
	}
	content := strings.NewReader(strings.Repeat("firmware ", 300))
	if _, _, err := sender.Enqueue(now, norm.Object{Kind: norm.File, Size: content.Size(), Info: []byte("fw.bin")}); err != nil {
		log.Fatal(err)
	}
	buf := make([]byte, 0, 1500)
	for sent := false; !sent; {
		for io := range sender.Requests() {
			_, io.Err = content.ReadAt(io.B, io.Offset)
			sender.Complete(now, io)
		}
		for {
			datagram, to, ok := sender.Poll(now, buf)
			if !ok {
				break
			}
			h, _ := wire.Peek(datagram)
			fmt.Println(to, h.Type, len(datagram), "bytes")
		}
		for event := range sender.Events() {
			fmt.Println(event.Kind)
			sent = event.Kind == norm.ObjectSent
		}
		now = sender.Deadline() // a real driver waits until then, or for a datagram, which goes to Handle
		sender.Advance(now)
	}
	// Output:
	// 239.1.2.3:6003 CMD 28 bytes
	// 239.1.2.3:6003 INFO 34 bytes
	// 239.1.2.3:6003 DATA 1432 bytes
	// 239.1.2.3:6003 DATA 1332 bytes
	// object-sent
}
