package discovery

import "context"

// turns bound how many messages of devices are worked on at once; others wait for their turn, first come, first served. When a
// whole fleet says hello or votes, each message would otherwise be a goroutine that is ready to run, and whatever else the
// server does, such as showing a page, would be behind all of them. A message is read before, so that nobody has a turn for
// being slow.
type turns chan struct{}

// atOnce is enough for a store to write what comes together at once, and short to wait for.
const atOnce = 256

// take waits for a turn, and reports false if the device has lost patience before: what is done for it then is done in vain,
// and again when it comes back.
func (t turns) take(ctx context.Context) bool {
	select {
	case t <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	if ctx.Err() != nil {
		t.end()
		return false
	}
	return true
}

func (t turns) end() { <-t }
