package api

import "time"

// FillUploads makes the server as busy with uploads as it may be, until free is called.
func (a *API) FillUploads() (free func()) { return fill(a.uploads) }

// FillStreams does so with streams.
func (a *API) FillStreams() (free func()) { return fill(a.streams) }

func fill(places chan struct{}) func() {
	n := 0
	for len(places) < cap(places) {
		places <- struct{}{}
		n++
	}
	return func() {
		for range n {
			<-places
		}
	}
}

// SetHeartbeat is for streams that begin after it.
func (a *API) SetHeartbeat(d time.Duration) { a.heartbeat = d }
