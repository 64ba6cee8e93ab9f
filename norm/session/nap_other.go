//go:build !linux

package session

import "time"

func nap(d time.Duration) { time.Sleep(d) }
