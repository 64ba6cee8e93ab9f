package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// KeepLease renews a lease every third of term, by this computer's clock. The context it returns is for all that the
// leader does: it ends when ctx does, and with the cause [ErrFenced] when the lease was lost, or could not be renewed
// before it was over. Release ends it, too, and gives the lease back; it is to be called once.
func (s *Store) KeepLease(ctx context.Context, l Lease, term time.Duration) (held context.Context, release func() error) {
	held, lose := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(term / 3)
		defer tick.Stop()
		for {
			select {
			case <-held.Done():
				return
			case <-tick.C:
			}
			renewed, err := s.renewInTime(held, l, term)
			switch {
			case err == nil:
				l = renewed
			case errors.Is(err, ErrFenced):
				lose(err)
			case !time.Now().Before(l.Until):
				lose(fmt.Errorf("%w: the lease could not be renewed: %w", ErrFenced, err))
			}
		}
	}()
	return held, func() error {
		lose(context.Canceled)
		<-done
		return s.DropLease(context.WithoutCancel(ctx), l)
	}
}

func (s *Store) renewInTime(ctx context.Context, l Lease, term time.Duration) (Lease, error) {
	ctx, cancel := context.WithDeadline(ctx, l.Until)
	defer cancel()
	return s.RenewLease(ctx, l, time.Now(), term)
}
