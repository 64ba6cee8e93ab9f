package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/multicast-upgrade/tool/upgrade/fleet"
)

// heartbeat is how often a stream is written to although nothing has changed, so that what is in between keeps it open,
// and how long an unchanged page may be behind what only the store knows.
const heartbeat = 10 * time.Second

// stream keeps a part of a page up to date by server-sent events: render is called at once, when something that concerns
// it has changed, at most once in pause, and with each heartbeat. It ends when render says that nothing more will come,
// when the session has ended, and with the context of the request.
func (s *Site) stream(v *visit, pause time.Duration, concerns func(fleet.Changes) bool, render func(context.Context) (part string, f any, last bool, err error)) error {
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		return &refusal{http.StatusServiceUnavailable, "Too many pages are kept up to date at once. Load this one anew to see more."}
	}
	ctx := v.r.Context()
	changes := s.fleet.Subscribe()
	defer changes.Close()
	v.w.Header().Set("Content-Type", "text/event-stream")
	v.w.Header().Set("X-Accel-Buffering", "no") // nginx passes it on at once
	var shown []byte
	for {
		if _, _, err := s.who(v.r); err != nil {
			return nil
		}
		part, f, last, err := render(ctx)
		if err != nil {
			return nil // the browser comes back, and is told what is wrong when the page is loaded
		}
		var b bytes.Buffer
		if err := pages["overview.html"].ExecuteTemplate(&b, part, f); err != nil {
			return err
		}
		message := []byte("event: here\ndata: \n\n") // for who looks whether the stream is alive
		if !bytes.Equal(b.Bytes(), shown) {
			shown = bytes.Clone(b.Bytes())
			message = event(shown)
		}
		if err := send(v.w, message); err != nil {
			return nil
		}
		if last {
			send(v.w, []byte("event: over\ndata: over\n\n"))
			return nil
		}
		if err := await(ctx, changes, pause, concerns); err != nil {
			return nil
		}
	}
}

// await returns when something has changed that concerns the caller, not before pause is over, or after a heartbeat.
func await(ctx context.Context, changes *fleet.Subscription, pause time.Duration, concerns func(fleet.Changes) bool) error {
	select {
	case <-time.After(pause):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	wait, cancel := context.WithTimeout(ctx, heartbeat)
	defer cancel()
	for {
		c, err := changes.Next(wait)
		switch {
		case err == nil && concerns(c):
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, context.DeadlineExceeded):
			return nil
		}
	}
}

// event returns HTML as a server-sent event.
func event(html []byte) []byte {
	var b bytes.Buffer
	for line := range bytes.Lines(html) {
		fmt.Fprintf(&b, "data: %s\n", bytes.TrimRight(line, "\r\n"))
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// send writes now. A browser that takes nothing for half a minute has gone.
func send(w http.ResponseWriter, b []byte) error {
	rc := http.NewResponseController(w)
	if err := rc.SetWriteDeadline(time.Now().Add(30 * time.Second)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := w.Write(b); err != nil {
		return err
	}
	return rc.Flush()
}
