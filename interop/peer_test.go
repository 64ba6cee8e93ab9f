//go:build linux

package interop

import (
	"io"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/internal/netns"
	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
)

// A node says what one participant does, whoever implements it.
type node struct {
	id   norm.NodeID
	at   netip.AddrPort // the session
	host *netns.Host    // where; nil: on the loopback interface of this host

	// Of a sender.
	instance norm.InstanceID
	code     fec.Params // SegmentSize too
	auto     int        // proactive parity
	rate     float64    // bits per second
	control  bool       // of congestion, from a segment a second; rate is not used
	grtt     time.Duration
	backoff  int              // K; -1: none
	unicast  bool             // session
	acks     []norm.NodeID    // who is asked to acknowledge the last object
	robust   int              // the robust factor; if zero, 20
	first    norm.TransportID // ours only: libnorm begins with 0

	streamOffset uint32   // payload_offset of the first byte of a stream, ours only
	objects      []object // what is sent, or expected

	// Of a receiver.
	join            norm.JoinPolicy
	silent          bool
	unicastFeedback bool
	dialect         norm.DialectPolicy // ours only

	extra []string // options of peers/nrl.cpp that have no field here
}

// An implementation starts nodes.
type implementation struct {
	name    string
	send    func(t *testing.T, n node) *peer
	receive func(t *testing.T, n node) *peer
}

// eventsHeld is how many events of a peer may wait. A test that looks at few of them needs no more.
const eventsHeld = 1 << 18

// A peer is a node at work.
type peer struct {
	name   string
	events chan event
	input  io.Writer // of a process
	stop   func()    // ends it and waits
}

// An event is what a peer says, in the words of peers/nrl.cpp.
type event struct {
	Event   string          `json:"event"`
	Version string          `json:"version"`
	Sender  norm.NodeID     `json:"sender"`
	Kind    string          `json:"kind"`
	Size    int64           `json:"size"`
	Info    string          `json:"info"` // in hexadecimal
	Path    string          `json:"path"`
	SHA256  string          `json:"sha256"`
	Rate    float64         `json:"rate"` // bits per second
	GRTT    float64         `json:"grtt"` // seconds
	Acks    map[string]bool `json:"acks"` // by node id
	More    bool            `json:"more"` // parts of a ZeroMQ message follow
}

// patience is how long an event is waited for. Only a test that fails waits so long.
const patience = 40 * time.Second

// await returns the next event of that name; others are passed over.
func (p *peer) await(t *testing.T, name string) event {
	t.Helper()
	return p.awaitThat(t, name, func(event) bool { return true })
}

// awaitThat returns the next event of that name that is right.
func (p *peer) awaitThat(t *testing.T, name string, right func(event) bool) event {
	t.Helper()
	late := time.After(patience)
	for seen := []string(nil); ; {
		select {
		case e, ok := <-p.events:
			if !ok {
				t.Fatalf("%s ended before it said %q; before: %v", p.name, name, seen)
			}
			if e.Event == name && right(e) {
				return e
			}
			if len(seen) < 50 {
				seen = append(seen, e.Event)
			}
		case <-late:
			t.Fatalf("%s did not say %q in %v; what it said: %v", p.name, name, patience, seen)
		}
	}
}

func (e event) delivery() delivery { return delivery{e.Kind, e.Info, e.Size, e.SHA256} }

// awaitObjects waits until the peer has all the objects, in whatever order, with their content.
func (p *peer) awaitObjects(t *testing.T, objects []object) {
	t.Helper()
	var missing []delivery
	for _, o := range objects {
		missing = append(missing, o.delivery())
	}
	for len(missing) > 0 {
		got := p.await(t, "completed").delivery()
		i := slices.Index(missing, got)
		if i < 0 {
			t.Fatalf("%s has %+v, which nobody sent; of what was sent it lacks %+v", p.name, got, missing)
		}
		missing = slices.Delete(missing, i, i+1)
	}
}
