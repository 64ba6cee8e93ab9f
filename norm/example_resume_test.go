package norm_test

import (
	"fmt"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/normtest"
)

// A device that was half done before it restarted knows from the session description what is sent, and from its disk
// what it has: only the rest is asked for. The network is that of package normtest, in virtual time.
func ExampleReceiver_Present() {
	code := fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 1400, MaxBlockLen: 64, MaxParity: 32}
	net := normtest.New(1)
	sender, err := net.AddSender("server", nil, normtest.Link{}, normtest.Link{}, norm.SenderConfig{Node: 1, FEC: code})
	if err != nil {
		fmt.Println(err)
		return
	}
	device, err := net.AddReceiver("device", nil, normtest.Link{}, normtest.Link{}, norm.ReceiverConfig{Node: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	image := make(normtest.Memory, 1<<20)
	half := make(normtest.Memory, 1<<20)
	h, err := device.Expect(norm.Preset{Sender: 1, ID: 0, Size: 1 << 20, FEC: code}, half)
	if err != nil {
		fmt.Println(err)
		return
	}
	device.Host.Do(func(now time.Time) { err = device.Core.Present(now, h, norm.Range{Offset: 0, Length: 1 << 19}) })
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, _, err := sender.Send(norm.Object{Size: 1 << 20, RepairOnly: true}, image); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("complete:", net.RunUntil(time.Hour, func() bool { return device.Completed() == 1 }))
	fmt.Println("asked for again:", sender.Core.Stats().Repairs, "of 749 segments")
	// Output:
	// complete: true
	// asked for again: 375 of 749 segments
}
