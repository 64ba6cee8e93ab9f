package session

import (
	"syscall"
	"time"
)

// nap makes the calling thread sleep. The runtime's timers wake up some threads more for each wait, and wait for whole
// milliseconds.
func nap(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	syscall.Nanosleep(&t, nil) // shorter if a signal comes: then there is little to do in the next turn
}
