package norm

// maxAhead is how many parity symbols are made at once at most.
const maxAhead = 16

// A paritySeries is parity made ahead of need: symbols that follow one another take less time together. How many will be sent
// is not known, so each time one is wanted that follows those made before, twice as many are made as then. At most as many
// are in vain as were sent.
type paritySeries struct {
	buf     *blockBuffer
	object  *outgoing
	block   uint32
	first   int // the symbols made are [first, first+len(symbols))
	symbols [][]byte
	memory  []byte
	source  [][]byte
}

// parity returns a parity symbol of a block that is in memory. It is valid until the next one is wanted.
func (s *Sender) parity(buf *blockBuffer, symbol int) []byte {
	p, o := &s.series, buf.object
	same := p.buf == buf && p.object == o && p.block == buf.block && o.stream == nil // whose blocks change their numbers
	next := p.first + len(p.symbols)
	if same && symbol >= p.first && symbol < next {
		return p.symbols[symbol-p.first]
	}
	n := 1
	if same && symbol == next {
		n = min(2*len(p.symbols), maxAhead)
	}
	n = max(min(n, o.layout.symbols(buf.block)-symbol), 1)
	p.buf, p.object, p.block, p.first = buf, o, buf.block, symbol
	if len(p.memory) < n*o.E {
		p.memory = make([]byte, maxAhead*o.E)
	}
	p.symbols, p.source = p.symbols[:0], buf.source(p.source[:0])
	for i := range n {
		p.symbols = append(p.symbols, p.memory[i*o.E:(i+1)*o.E])
	}
	if err := o.scheme.Parities(p.symbols, p.source, symbol); err != nil {
		panic("norm: " + err.Error()) // only symbols that the code has are planned
	}
	return p.symbols[symbol-p.first]
}
