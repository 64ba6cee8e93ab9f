package scale

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/multicast-upgrade/tool/norm/normtest"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// A LossKind says who loses a packet together.
type LossKind uint8

const (
	LossNone        LossKind = iota
	LossEvent                // one segment of every fourth block is lost to the whole group, nothing else
	LossGroup                // the sender's own link loses packets, so that the whole group lacks them
	LossTree                 // the link to a subtree does, so that all in it lack them; there are 100 subtrees
	LossIndependent          // each receiver's own link does
	LossBurst                // each receiver's own link does, in bursts of 8 packets on average (Gilbert's model)
)

var lossNames = [...]string{"none", "event", "group", "tree", "independent", "burst"}

// A Loss is a loss model. NORM's feedback is not lost, but for a LossTree where it comes from another subtree.
type Loss struct {
	Kind  LossKind
	Share float64 // of the packets, in [0, 1)
}

const (
	subtrees   = 100
	burstLen   = 8
	eventEvery = 4 // blocks
	eventAt    = 7 // symbol
)

// ParseLoss reads a loss model as it is written: none, event, or KIND:PERCENT.
func ParseLoss(s string) (l Loss, err error) {
	name, share, given := strings.Cut(s, ":")
	for i, n := range lossNames {
		if n != name {
			continue
		}
		l.Kind = LossKind(i)
		if given == (l.Kind <= LossEvent) {
			break
		}
		if given {
			if l.Share, err = strconv.ParseFloat(strings.TrimSuffix(share, "%"), 64); err != nil {
				break
			}
			l.Share /= 100
		}
		return l, l.check()
	}
	return l, fmt.Errorf("loss %q: want none, event, or group, tree, independent or burst with a percentage, as in independent:1", s)
}

func (l Loss) String() string {
	if l.Kind <= LossEvent {
		return lossNames[l.Kind]
	}
	return fmt.Sprintf("%s:%g%%", lossNames[l.Kind], 100*l.Share)
}

// MarshalText and UnmarshalText make it a flag.
func (l Loss) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

func (l *Loss) UnmarshalText(b []byte) (err error) {
	*l, err = ParseLoss(string(b))
	return err
}

func (l Loss) check() error {
	if l.Kind > LossBurst || !(l.Share >= 0 && l.Share <= 0.5) {
		return fmt.Errorf("loss %v: want at most 50 %%", l)
	}
	return nil
}

// up returns the sender's link.
func (l Loss) up() (link normtest.Link) {
	if l.Kind == LossGroup {
		link.Loss = normtest.Random(l.Share)
	}
	return link
}

// trees returns in how many subtrees n receivers are.
func (l Loss) trees(n int) int {
	if l.Kind == LossTree {
		return min(subtrees, n)
	}
	return 1
}

// tree returns the link to a subtree.
func (l Loss) tree() (link normtest.Link) {
	if l.Kind == LossTree {
		link.Loss = normtest.Random(l.Share)
	}
	return link
}

// member returns what makes the loss of each receiver's own link, nil for none.
func (l Loss) member() func() normtest.Loss {
	switch l.Kind {
	case LossIndependent:
		return func() normtest.Loss { return normtest.Random(l.Share) }
	case LossBurst:
		// A bad link loses everything: it is bad for the share of the packets if good ones end after burstLen*(1-p)/p.
		return func() normtest.Loss {
			return &normtest.Bursts{Begin: l.Share / (burstLen * (1 - l.Share)), End: 1.0 / burstLen}
		}
	}
	return nil
}

// rule adds what a LossEvent loses to the network.
func (l Loss) rule(net *normtest.Net) {
	if l.Kind != LossEvent {
		return
	}
	net.Drop(&normtest.Rule{Match: func(p *normtest.Packet) bool {
		m, ok := p.Message().(*wire.Data)
		if !ok || m.Flags&wire.FlagRepair != 0 {
			return false
		}
		id := m.PayloadID(0)
		return id.Symbol == eventAt && id.Block%eventEvery == 0
	}})
}
