package upgrade

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"sync"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/session"
)

const (
	// maxDecision is the most bytes a decision object may have.
	maxDecision = commit.MaxMessage + 256
	// receiveBuffer is the memory for blocks on their way, in bytes.
	receiveBuffer = 8 << 20
)

// join opens the NORM session, expects the objects of the campaign, and tells what of them is there.
func (r *reception) join(ctx context.Context) error {
	if attachment := r.a.cfg.attachment; attachment != nil {
		r.attached = attachment(r.s)
	}
	authenticated, err := r.auth(ctx)
	if err != nil {
		return err
	}
	conn, err := r.a.cfg.Conn(r.s)
	if err != nil {
		return err
	}
	repairs := r.s.Repairs
	if _, ok := conn.(session.RepairConn); !ok {
		repairs = netip.AddrPort{} // we ask for them in the session's group, then
	}
	feedback := norm.FeedbackAuto
	if r.a.cfg.UnicastFeedback {
		feedback = norm.FeedbackUnicast
	}
	ctx, stop := context.WithCancel(ctx)
	m := &multicast{stop: stop, objects: map[norm.Handle]int{}, handles: map[int]norm.Handle{}}
	m.offers = offers{decision: norm.TransportID(r.s.Objects.Decision) + norm.TransportID(r.c.round.Wave), sinks: map[norm.Handle]*memory{}}
	var check func(norm.Handle, int64, []byte) norm.Verdict
	if r.segments != nil {
		check = r.segments.check
	}
	m.Session, err = session.Open(session.Config{
		Conn: conn,
		Receive: &norm.ReceiverConfig{
			Node: r.node, Group: r.s.Group, RepairGroup: repairs,
			Sender: norm.NodeID(r.s.NodeID), SenderAddr: r.s.Source, Evidence: r.evidence(),
			Join: norm.JoinAll, Patience: r.late, Dialect: dialectOf(r.s.FEC),
			Buffer: receiveBuffer, Auth: authenticated, Feedback: feedback,
			Locate: true, Check: check,
		},
		Offer: m.offers.offer,
		Trace: r.a.cfg.Trace,
		Log:   r.a.log,
	})
	if err != nil {
		stop()
		conn.Close()
		return err
	}
	r.net = m
	if err := m.expectAll(ctx, r.s, r.stage, r.segments); err != nil {
		stop()
		m.Close()
		r.net = nil
		return err
	}
	if r.gleaning.wanted {
		m.setNack(ctx, norm.NackNone)
	}
	m.forward.Go(func() {
		for {
			e, err := m.Next(ctx)
			if err != nil {
				return
			}
			select {
			case r.events <- e:
			case <-ctx.Done():
				return
			}
		}
	})
	return nil
}

// expectAll presets the objects of a campaign.
func (m *multicast) expectAll(ctx context.Context, s *manifest.Session, st *stage, segments *segmentHashes) error {
	expect := func(object int, p norm.Preset, sink session.Sink, present []span) error {
		p.Sender, p.FEC = norm.NodeID(s.NodeID), paramsOf(s.FEC)
		h, err := m.Expect(ctx, p, sink)
		if err != nil {
			return err
		}
		m.objects[h], m.handles[object] = object, h
		segments.know(h, object)
		for _, s := range present {
			if err := m.Present(ctx, h, norm.Range{Offset: s.off, Length: s.length}); err != nil {
				return err
			}
		}
		return nil
	}
	var err error
	if segments != nil {
		err = expect(segmentObject, norm.Preset{ID: norm.TransportID(s.Segments.Object), Kind: norm.Data, Size: segments.list.Size()}, segments, nil)
	}
	if err != nil {
		return err
	}
	err = expect(hashObject, norm.Preset{ID: norm.TransportID(s.Objects.Hashes), Kind: norm.Data, Size: st.m.HashListSize()}, st.hashes, st.hashes.present())
	for i, im := range st.images {
		if err != nil {
			break
		}
		err = expect(i, norm.Preset{ID: norm.TransportID(s.Objects.Images[i]), Kind: norm.File, Size: im.entry.Size}, im, im.present())
	}
	return err
}

// setNack says what is asked for of the images.
func (m *multicast) setNack(ctx context.Context, mode norm.NackMode) {
	for object, h := range m.handles {
		if object >= 0 {
			m.SetNack(ctx, h, mode) // fails only if the session is gone
		}
	}
}

// paramsOf returns the code of a session description as package norm knows it.
func paramsOf(f manifest.FEC) fec.Params {
	p := fec.Params{ID: f.ID, Instance: f.Instance, M: f.FieldSize, SegmentSize: int(f.SegmentSize), MaxBlockLen: int(f.BlockSize), MaxParity: int(f.Parity)}
	if f.Dialect == manifest.DialectNRL {
		p.Dialect = fec.NRL
	}
	return p
}

func dialectOf(f manifest.FEC) norm.DialectPolicy {
	if f.Dialect == manifest.DialectNRL {
		return norm.DialectNRL
	}
	return norm.DialectRFC
}

// randomNode chooses a NormNodeId; that of two devices of a large group is the same now and then, which costs them a
// feedback message or two.
func randomNode() norm.NodeID { return norm.NodeID(1 + rand.Uint32N(1<<32-2)) }

// present tells that bytes of an object need not come.
func (m *multicast) present(ctx context.Context, object int, s span) {
	m.Present(ctx, m.handles[object], norm.Range{Offset: s.off, Length: s.length}) // fails only if the session is gone
}

// reject asks for bytes of an object again.
func (m *multicast) reject(ctx context.Context, object int, s span) {
	m.RejectRange(ctx, m.handles[object], norm.Range{Offset: s.off, Length: s.length}) // likewise
}

// received returns how many bytes of an object are there.
func (m *multicast) received(ctx context.Context, object int) int64 {
	o, err := m.Object(ctx, m.handles[object])
	if err != nil {
		return 0
	}
	return o.Received
}

func (m *multicast) stats(ctx context.Context) session.Stats {
	st, err := m.Stats(ctx)
	if err != nil {
		return session.Stats{}
	}
	return st
}

func (m *multicast) close() {
	m.stop()
	m.Leave(context.Background())
	m.Close()
	m.forward.Wait()
}

// decision returns the content of the decision object if that is what is complete.
func (m *multicast) decision(h norm.Handle) ([]byte, bool) { return m.offers.take(h) }

// offers takes in what was not expected: the decision of the device's wave and nothing else.
type offers struct {
	decision norm.TransportID

	mu    sync.Mutex
	sinks map[norm.Handle]*memory // guarded by mu
}

// offer is called by the loop of the session.
func (o *offers) offer(h norm.Handle, info norm.ReceivedObject) session.Sink {
	if info.ID != o.decision || info.Size < 1 || info.Size > maxDecision {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.sinks) // a sender in another run says it anew
	sink := &memory{b: make([]byte, info.Size)}
	o.sinks[h] = sink
	return sink
}

func (o *offers) take(h norm.Handle) ([]byte, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	sink := o.sinks[h]
	if sink == nil {
		return nil, false
	}
	delete(o.sinks, h)
	return sink.b, true
}

// A memory is a sink in memory. The session writes each byte before it reports the object complete.
type memory struct{ b []byte }

func (m *memory) WriteAt(p []byte, off int64) (int, error) { return copy(m.b[off:], p), nil }
func (m *memory) ReadAt(p []byte, off int64) (int, error)  { return copy(p, m.b[off:]), nil }
