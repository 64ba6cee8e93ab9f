package wire

import (
	"bytes"
	"testing"
)

// TestExtRepair has the one extension that is of no RFC: a word, as all types from 128 on, with nothing in it. What stands in
// its reserved bytes is ignored.
func TestExtRepair(t *testing.T) {
	// het, reserved, reserved
	want := unhex(`e0 00 0000`)
	e := AppendRepair(nil)
	if !bytes.Equal(e, want) || !e.Repair() {
		t.Errorf("EXT_REPAIR is %x, %v; want %x", e, e.Repair(), want)
	}
	e = AppendRate(nil, 0x1234)
	if e.Repair() {
		t.Errorf("%x has EXT_REPAIR", e)
	}
	e = append(unhex(`e0 ff abcd`), e...)
	if code, ok := e.Rate(); !e.Repair() || !ok || code != 0x1234 {
		t.Errorf("%x: EXT_REPAIR %v, EXT_RATE %x %v", e, e.Repair(), code, ok)
	}
	if got := (extensions{want, noFEC}).String(); got != "EXT_REPAIR{}" {
		t.Errorf("in words %q", got)
	}
}
