//go:build !unix

package fleet_test

import (
	"math"
	"time"
)

func fileLimit() int { return math.MaxInt32 } // there is none

func cpuTime() time.Duration { return 0 }
