package doctor

import (
	"net"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// observed is all that an examination has seen. The checks judge it and look at nothing else.
type observed struct {
	config Config

	// This host.
	ifi         *net.Interface
	addrs       []netip.Addr   // of the interface, of the group's IP version
	picked      *net.Interface // by the routing table, towards the group
	pickedErr   error
	joinErr     error // of the join as NORM does it
	bufferAsked int   // of the socket's queue, in bytes
	buffer      int   // as granted
	noFragment  error
	tapErr      error  // why there is no tap
	filter      string // what rp_filter is in force for the interface: "0", "1", "2"; empty: not known here
	igmp        string // the version that this host speaks on the interface: "V1", "V2", "V3"; empty: not known here
	backIfi     *net.Interface
	backErr     error // no route back

	// The other side.
	responder    netip.AddrPort // where it sends from
	senderTTL    int            // what it sends to the group with; 0: not known
	hops         int            // routers in between; -1: not known
	groupHeard   int            // messages of it that came by the group
	groupTapped  int            // seen on the wire, coming by the group
	elsewhere    map[int]int    // messages by the interface, other than ours, that they came in by
	lastGroup    time.Time
	cookieGroup  uint64
	cookie       uint64 // of a unicast answer
	heardTTL     int    // least TTL of our questions to the group that it has heard; 0: none
	heardUnicast bool
	answered     bool
	ladder       int // least TTL of the probes of rising TTL that came; 0: none did
	laddered     bool

	// Measured with it.
	sizes   []sizeSeen
	rungs   []rung
	ssmErr  error
	ssm     bool // heard by a source-specific join
	ssmDone bool

	// Others.
	queries   []query
	leftOne   bool // a group was joined and left, which a querier asks about
	listened  time.Duration
	nodes     map[wire.NodeID]map[netip.Addr]bool // NORM nodes by source_id
	norm      int                                 // NORM messages
	strangers map[netip.Addr]int                  // datagrams that are neither NORM nor ours

	// For the long run.
	joined   time.Time
	aliveFor time.Duration // from then to the last that came by the group; 0: it was not watched
	died     bool          // it ended before
}

// A sizeSeen is whether a UDP payload of a size came through.
type sizeSeen struct {
	size int
	came bool
}

// A rung is a burst at a rate.
type rung struct {
	kbits      uint32
	sent, came int
}

func (r rung) loss() float64 { return 1 - float64(r.came)/float64(r.sent) }

// maxKnown bounds each of the tables of what others send.
const maxKnown = 256

// note takes account of a datagram that a NORM node or a stranger has sent to the group.
func (o *observed) note(p packet) {
	h, err := wire.Peek(p.b)
	if err != nil {
		if _, known := o.strangers[p.from.Addr()]; known || len(o.strangers) < maxKnown {
			o.strangers[p.from.Addr()]++
		}
		return
	}
	o.norm++
	at := o.nodes[h.Source]
	if at == nil {
		if len(o.nodes) >= maxKnown {
			return
		}
		at = make(map[netip.Addr]bool)
		o.nodes[h.Source] = at
	}
	if len(at) < maxKnown {
		at[p.from.Addr()] = true
	}
}

// querier returns the latest query, or nil.
func (o *observed) querier() *query {
	if len(o.queries) == 0 {
		return nil
	}
	return &o.queries[len(o.queries)-1]
}
