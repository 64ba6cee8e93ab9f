package doctor

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/multicast-upgrade/tool/norm/wire"
)

// golden is a message with another value in each field.
var golden = message{
	kind: answer, via: byUnicast, ttl: 5, run: 0x0102030405060708, cookie: 0x1112131415161718, seq: 0x21222324, rate: 0x31323334,
	count: 0x4142, size: 0x5152, heardTTL: 6, heardUnicast: true,
}

func TestMessage(t *testing.T) {
	want, err := hex.DecodeString(strings.ReplaceAll(
		"4e444f43 01030205 0102030405060708 1112131415161718 21222324 31323334 4142 5152 06 01 0000", " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	got := golden.append(nil, 0)
	if !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
	if len(got) != messageSize {
		t.Errorf("%d bytes, want %d", len(got), messageSize)
	}
	if b := golden.append(nil, 100); len(b) != 100 || !bytes.Equal(b[:messageSize], want) {
		t.Errorf("padded: %x", b)
	}
	var m message
	if err := m.parse(got); err != nil || m != golden {
		t.Errorf("parsed %+v, %v; want %+v", m, err, golden)
	}
}

// TestNormNodesDropProbes holds the first four bits to be no version of NORM.
func TestNormNodesDropProbes(t *testing.T) {
	if _, err := wire.Peek(golden.append(nil, 0)); err != wire.ErrVersion {
		t.Errorf("a NORM node says %v, want %v", err, wire.ErrVersion)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(golden.append(nil, 0))
	f.Add([]byte("NDOC\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m, again message
		if m.parse(b) != nil {
			return
		}
		if err := again.parse(m.append(nil, 0)); err != nil || again != m {
			t.Errorf("%+v became %+v, %v", m, again, err)
		}
	})
}
