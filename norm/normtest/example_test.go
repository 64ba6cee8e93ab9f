package normtest_test

import (
	"fmt"
	"log"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/normtest"
)

// A sender and two receivers, one of which loses a tenth of what it is sent.
func Example() {
	net := normtest.New(7)
	near := normtest.Link{Delay: time.Millisecond}
	lossy := normtest.Link{Delay: 10 * time.Millisecond, Loss: normtest.Random(0.1)}
	s, err := net.AddSender("s", nil, normtest.Link{}, near, norm.SenderConfig{Node: 1, GroupSize: 10})
	if err != nil {
		log.Fatal(err)
	}
	var receivers []*normtest.Receiver
	for i, link := range []normtest.Link{near, lossy} {
		cfg := norm.ReceiverConfig{Node: norm.NodeID(2 + i), Seed: uint64(i)}
		r, err := net.AddReceiver(fmt.Sprint("r", i), nil, normtest.Link{}, link, cfg)
		if err != nil {
			log.Fatal(err)
		}
		receivers = append(receivers, r)
	}
	if _, _, err := s.Send(norm.Object{Kind: norm.File, Size: 1 << 20}, nil); err != nil {
		log.Fatal(err)
	}
	net.Run(time.Minute)
	for _, r := range receivers {
		fmt.Println(r.Host.Name, r.Objects[0])
	}
	// Output:
	// r0 1/0 file 1048576 bytes complete
	// r1 1/0 file 1048576 bytes complete
}
