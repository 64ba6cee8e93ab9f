package norm

// A decoder is the memory for decoding blocks, one at a time.
type decoder struct {
	dst, symbols [][]byte
	rebuilt      []byte
}

// decode rebuilds the missing source symbols of b in their slots, where parity symbols were until then.
func (d *decoder) decode(b *block) error {
	e := b.width
	missing := b.missing()
	if cap(d.rebuilt) < missing*e {
		d.rebuilt = make([]byte, missing*e)
	}
	d.dst, d.symbols = d.dst[:0], d.symbols[:0]
	rest := d.rebuilt[:missing*e]
	for i := range b.k {
		if b.source.has(i) {
			// The last symbol of an object may be short. What is behind it in its slot is of no account.
			d.symbols = append(d.symbols, b.slot(i)[:min(e, b.object.layout.SymbolLen(b.number, i))])
			d.dst = append(d.dst, nil)
		} else {
			d.symbols, d.dst = append(d.symbols, nil), append(d.dst, rest[:e:e])
			rest = rest[e:]
		}
	}
	for _, p := range b.parity {
		for len(d.symbols) <= p.esi {
			d.symbols = append(d.symbols, nil)
		}
		d.symbols[p.esi] = b.slot(p.slot)
	}
	if err := b.object.layout.scheme.Decode(d.dst, d.symbols); err != nil {
		return err
	}
	for i, symbol := range d.dst {
		if symbol != nil {
			copy(b.slot(i), symbol)
		}
	}
	clear(d.symbols)
	return nil
}
