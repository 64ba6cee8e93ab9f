package session_test

import (
	"context"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/session"
)

// An object known beforehand, of which the first half is in its file already. What check throws away comes again.
func ExampleSession_Expect() {
	receive := func(ctx context.Context, s *session.Session, p norm.Preset, file session.Sink, check func(norm.Range) error) error {
		h, err := s.Expect(ctx, p, file)
		if err != nil {
			return err
		}
		if err := s.Present(ctx, h, norm.Range{Offset: 0, Length: p.Size / 2}); err != nil {
			return err
		}
		for {
			e, err := s.Next(ctx)
			if err != nil {
				return err
			}
			switch {
			case e.Object != h:
			case e.Kind == norm.ObjectAborted:
				return e.Err
			case e.Kind == norm.ObjectData && check(e.Range) != nil:
				if err := s.RejectRange(ctx, h, e.Range); err != nil {
					return err
				}
			case e.Kind == norm.ObjectComplete:
				if o, err := s.Object(ctx, h); err != nil || o.Complete { // and not rejected since the event
					return err
				}
			}
		}
	}
	_ = receive
}
