package norm

// A decoder is the memory for decoding blocks, one at a time.
type decoder struct {
	dst, symbols [][]byte
	rebuilt      []byte
}

// decode rebuilds the missing source symbols of b, which settle puts where they belong.
func (d *decoder) decode(b *block) error {
	e := b.width
	missing := b.missing()
	if cap(d.rebuilt) < missing*e {
		d.rebuilt = make([]byte, missing*e)
	}
	d.dst = d.dst[:0]
	rest := d.rebuilt[:missing*e]
	for i := range b.k {
		if b.source.has(i) {
			d.dst = append(d.dst, nil)
		} else {
			d.dst = append(d.dst, rest[:e:e])
			rest = rest[e:]
		}
	}
	err := b.object.layout.scheme.Decode(d.dst, d.gather(b))
	clear(d.symbols)
	return err
}

// gather returns the symbols of a block by their ESI.
func (d *decoder) gather(b *block) [][]byte {
	d.symbols = d.symbols[:0]
	for i := range b.k {
		d.symbols = append(d.symbols, nil)
		if b.source.has(i) {
			// The last symbol of an object may be short. What is behind it in its slot is of no account.
			d.symbols[i] = b.slot(i)[:min(b.width, b.object.layout.SymbolLen(b.number, i))]
		}
	}
	for _, p := range b.parity {
		d.put(p.esi, b.slot(p.slot))
	}
	if x := b.suspect; x != nil {
		for i, esi := range x.extra {
			d.put(esi, x.symbol(b, i))
		}
	}
	return d.symbols
}

func (d *decoder) put(esi int, symbol []byte) {
	for len(d.symbols) <= esi {
		d.symbols = append(d.symbols, nil)
	}
	d.symbols[esi] = symbol
}

// settle puts what was rebuilt in its slots, where parity symbols were until then.
func (d *decoder) settle(b *block) {
	for i, symbol := range d.dst {
		if symbol != nil {
			copy(b.slot(i), symbol)
		}
	}
}
