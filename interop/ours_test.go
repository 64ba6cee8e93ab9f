//go:build linux

package interop

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"

	"github.com/multicast-upgrade/tool/internal/netns"
	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/udp"
)

// ours is this implementation, in this process.
var ours = implementation{name: "Go", send: ourSend, receive: ourReceive}

func ourSend(t *testing.T, n node) *peer {
	t.Helper()
	s := n.open(t, udp.Sender, session.Config{Send: n.senderConfig()})
	p := follow(t, s, fmt.Sprintf("Go sender %d", n.id), nil)
	var writers sync.WaitGroup
	t.Cleanup(writers.Wait)
	for _, o := range n.objects {
		var info []byte
		if o.info != "" {
			info = []byte(o.info)
		}
		if o.kind == norm.Stream {
			w, err := s.OpenStream(t.Context(), norm.StreamConfig{Info: info, FirstOffset: n.streamOffset})
			if err != nil {
				t.Fatal(err)
			}
			writers.Go(func() {
				if err := o.write(t.Context(), w); err != nil && t.Context().Err() == nil {
					t.Errorf("writing the stream: %v", err)
				}
			})
			continue
		}
		if _, _, err := s.Send(t.Context(), norm.Object{Kind: o.kind, Size: int64(len(o.content)), Info: info}, bytes.NewReader(o.content)); err != nil {
			t.Fatal(err)
		}
	}
	if n.acks != nil {
		if _, err := s.SetWatermark(t.Context(), norm.Watermark{Nodes: n.acks}); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func (n node) senderConfig() *norm.SenderConfig {
	c := &norm.SenderConfig{
		Node: n.id, Instance: n.instance, Group: n.at, FEC: n.code, SegmentSize: n.code.SegmentSize, AutoParity: n.auto, Rate: n.rate,
		GRTT: n.grtt, BackoffFactor: n.backoff, GroupSize: 10, FirstObject: n.first, RobustFactor: n.robust,
	}
	if n.control {
		c.Rate, c.Control = 0, &norm.RateControl{StartRate: float64(8 * n.code.SegmentSize)}
	}
	return c
}

func ourReceive(t *testing.T, n node) *peer {
	t.Helper()
	sinks := &sinks{held: make(map[norm.Handle]sink)}
	cfg := norm.ReceiverConfig{Node: n.id, Group: n.at, Join: n.join, Dialect: n.dialect, Silent: n.silent}
	if n.unicastFeedback {
		cfg.Feedback = norm.FeedbackUnicast
	}
	streams := make(chan *session.StreamReader, 16)
	s := n.open(t, udp.Receiver, session.Config{Receive: &cfg, Offer: sinks.offer, OfferStream: func(r *session.StreamReader, _ norm.ReceivedObject) bool {
		streams <- r
		return true
	}})
	p := follow(t, s, fmt.Sprintf("Go receiver %d", n.id), sinks)
	p.readStreams(t, s, streams)
	return p
}

// open opens a session with a socket on the node's host.
func (n node) open(t *testing.T, role udp.Role, cfg session.Config) *session.Session {
	t.Helper()
	on := udp.Config{Group: n.at, Role: role, Interface: loopbackOf(n.at.Addr()).String()}
	if n.host != nil {
		on.Interface = netns.Interface
	} else if n.at.Addr().IsMulticast() {
		on.TTL = -1 // stays on this host
	}
	var conn *udp.Conn
	var err error
	dial := func() { conn, err = udp.Open(on) }
	if n.host != nil {
		n.host.Do(dial)
	} else {
		dial()
	}
	if err != nil {
		t.Fatal(err)
	}
	cfg.Conn = conn
	s, err := session.Open(cfg)
	if err != nil {
		conn.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// sinks are where a receiver's objects lie.
type sinks struct {
	mu   sync.Mutex
	held map[norm.Handle]sink
}

// A sink is where one object lies, and what was said of it when it was offered.
type sink struct {
	memory
	offered norm.ReceivedObject
}

func (s *sinks) offer(h norm.Handle, o norm.ReceivedObject) session.Sink {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[h] = sink{make(memory, o.Size), o}
	return s.held[h]
}

// take lets go of an object and returns it.
func (s *sinks) take(h norm.Handle) (taken sink, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer delete(s.held, h)
	taken, ok = s.held[h]
	return taken, ok
}

// follow makes a peer of a session: it tells its events in the words of the others.
func follow(t *testing.T, s *session.Session, name string, sinks *sinks) *peer {
	p := &peer{name: name, events: make(chan event, eventsHeld)}
	acks := make(map[string]bool) // who answered, and who was given up
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		defer close(p.events)
		for {
			e, err := s.Next(ctx)
			if err != nil {
				if !errors.Is(err, session.ErrClosed) && ctx.Err() == nil {
					t.Errorf("%s: %v", name, err)
				}
				return
			}
			switch e.Kind {
			case norm.NodeAcknowledged, norm.NodeSilent:
				acks[fmt.Sprint(e.Node)] = e.Kind == norm.NodeAcknowledged
			case norm.AcksDone:
				p.events <- event{Event: "watermark", Acks: maps.Clone(acks)}
			default:
				if told, ok := tell(ctx, s, sinks, e); ok {
					p.events <- told
				}
			}
		}
	})
	p.stop = sync.OnceFunc(func() { s.Close(); cancel(); done.Wait() })
	t.Cleanup(p.stop)
	return p
}

// readStreams reads the streams that a session is offered and tells of each when it has ended.
func (p *peer) readStreams(t *testing.T, s *session.Session, streams <-chan *session.StreamReader) {
	var readers sync.WaitGroup
	t.Cleanup(readers.Wait)
	readers.Go(func() {
		for {
			select {
			case <-t.Context().Done():
				return
			case r := <-streams:
				b, err := readStream(t.Context(), r)
				if err != nil {
					if t.Context().Err() == nil {
						t.Errorf("%s: %v", p.name, err)
					}
					return
				}
				e := event{Event: "completed", Kind: kinds[norm.Stream], Size: int64(len(b)), SHA256: digest(b)}
				if o, err := s.Object(t.Context(), r.Handle()); err == nil {
					e.Info = hex.EncodeToString(o.Info)
				}
				p.events <- e
			}
		}
	})
}

// tell puts an event in the words of peers/nrl.cpp.
func tell(ctx context.Context, s *session.Session, sinks *sinks, e norm.Event) (event, bool) {
	names := map[norm.EventKind]string{
		norm.SenderSeen: "sender", norm.SenderRestarted: "reset", norm.SenderLost: "inactive", norm.ObjectOffered: "object",
		norm.ObjectSent: "sent", norm.ObjectAborted: "aborted", norm.ObjectComplete: "completed", norm.Flushed: "flushed",
	}
	told := event{Event: names[e.Kind], Sender: e.Sender}
	if e.Kind == norm.ObjectComplete {
		sink, ok := sinks.take(e.Object)
		if !ok {
			return event{}, false // a stream: readStreams tells
		}
		o, err := s.Object(ctx, e.Object)
		if err != nil {
			o = sink.offered // it was complete so long ago that the receiver does not know it any more
		}
		told.Kind, told.Size, told.Info, told.SHA256 = kinds[o.Kind], o.Size, hex.EncodeToString(o.Info), digest(sink.memory)
	}
	return told, told.Event != ""
}
