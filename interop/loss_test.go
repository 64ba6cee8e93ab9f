//go:build linux

package interop

import (
	"slices"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// A place is a property of a packet that a rule of loss looks for.
type place func(p packet) bool

// data reports whether the packet is NORM_DATA, and of what.
func (p packet) data() (*wire.Data, bool) {
	m, ok := p.msg.(*wire.Data)
	return m, ok
}

// at is where in its object a NORM_DATA belongs. fec_id 2 is split by the m of the message's own EXT_FTI.
func at(m *wire.Data) wire.PayloadID {
	fti, _ := m.Extensions.FTI(m.FECID)
	return m.PayloadID(fti.M)
}

// symbol is the NORM_DATA of that block and symbol of an object.
func symbol(block uint32, symbol uint32) place {
	return func(p packet) bool {
		m, ok := p.data()
		return ok && at(m).Block == block && at(m).Symbol == symbol
	}
}

// sourceOf is all source symbols of that block, which has k.
func sourceOf(block, k uint32) place {
	return func(p packet) bool {
		m, ok := p.data()
		return ok && at(m).Block == block && at(m).Symbol < k
	}
}

// infoOf is the NORM_INFO of that object.
func infoOf(object norm.TransportID) place {
	return func(p packet) bool {
		m, ok := p.msg.(*wire.Info)
		return ok && m.Object == object
	}
}

// objectOf is all NORM_INFO and NORM_DATA of that object.
func objectOf(object norm.TransportID) place {
	return func(p packet) bool {
		m, ok := p.data()
		return ok && m.Object == object || infoOf(object)(p)
	}
}

// once loses each packet of that place the first time that it is sent to a node: what repairs it arrives.
func once(where place) loss {
	type key struct {
		to int
		id string
	}
	seen := make(map[key]bool)
	return func(p packet) bool {
		if !where(p) {
			return false
		}
		k := key{p.to, p.msg.String()}
		if m, ok := p.data(); ok {
			k.id = m.Position.String()
		}
		if seen[k] {
			return false
		}
		seen[k] = true
		return true
	}
}

// everyThird loses the third, the sixth, … of the content packets that go to a node, repairs too.
func everyThird() loss {
	count := make(map[int]int)
	return func(p packet) bool {
		switch p.msg.(type) {
		case *wire.Info, *wire.Data:
			count[p.to]++
			return count[p.to]%3 == 0
		}
		return false
	}
}

// to restricts a rule to what goes to some nodes.
func (l loss) to(nodes ...int) loss {
	return func(p packet) bool { return slices.Contains(nodes, p.to) && l(p) }
}

// between loses the packets of the sender from number n on, counted from 0, up to number m; whatever they are.
func between(n, m int) loss {
	count := make(map[int]int)
	return func(p packet) bool {
		if p.from != 0 {
			return false
		}
		count[p.to]++
		return count[p.to] > n && count[p.to] <= m
	}
}
