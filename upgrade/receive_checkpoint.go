package upgrade

import (
	"sync"
	"sync/atomic"
)

// A checkpoint makes durable what is verified, each second and beside the reception: what a power cut takes has come within
// the last second, or while the storage was busy with the second before.
type checkpoint struct {
	verified int64 // bytes, when it was begun last
	work     sync.WaitGroup
	busy     atomic.Bool
	failed   atomic.Pointer[error]
}

// due reports whether there is more to be made durable than last time.
func (c *checkpoint) due(st *stage) bool {
	have, _ := st.progress()
	if have == c.verified {
		return false
	}
	c.verified = have
	return true
}

// save begins to make the stage durable, unless that is being done. An error is that of a time before: the storage failed, and
// syncing it again would prove nothing.
func (c *checkpoint) save(st *stage) error {
	if err := c.failed.Load(); err != nil {
		return *err
	}
	if c.busy.Load() || !c.due(st) {
		return nil
	}
	c.busy.Store(true)
	c.work.Go(func() {
		if err := st.sync(); err != nil {
			c.failed.Store(&err)
		}
		c.busy.Store(false)
	})
	return nil
}

// end waits until nothing is being saved, and returns how that went.
func (c *checkpoint) end() error {
	c.work.Wait()
	if err := c.failed.Load(); err != nil {
		return *err
	}
	return nil
}
