package session

import (
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// naps is how many threads nap with a processor of the runtime in hand.
var naps atomic.Int32

// nap makes the calling thread sleep.
//
// The runtime's timers wake up some threads more for each wait, and wait for whole milliseconds. A sleep that the runtime knows
// of is dear as well: it takes the processor from the thread after 20 µs, wakes up another to see whether there is something to
// do, and looks that often again. So it is not told, as long as one processor is left for everything else. If there is but one,
// other goroutines have it first. A signal, by which the runtime stops goroutines, ends the nap: then there is little to do in
// the next turn.
func nap(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	all := runtime.GOMAXPROCS(0)
	if all == 1 {
		runtime.Gosched()
	}
	if naps.Add(1) <= int32(max(all-1, 1)) {
		syscall.RawSyscall(syscall.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&t)), 0, 0)
	} else {
		syscall.Nanosleep(&t, nil)
	}
	naps.Add(-1)
}
