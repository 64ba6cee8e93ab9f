package interop

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/trace"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// recordedGroup is the session of all recordings.
var recordedGroup = netip.MustParseAddrPort("233.252.0.1:6003") // for documentation, RFC 5771

// TestReplay plays what NRL's implementation sent to a Receiver, with all that was lost, and compares what comes of it.
func TestReplay(t *testing.T) {
	for _, rec := range recordings {
		t.Run(rec.name, func(t *testing.T) {
			got := replay(t, rec)
			for _, o := range rec.objects {
				i := slices.Index(got, o.delivery())
				if i < 0 {
					t.Fatalf("%+v did not arrive; what did: %+v", o.delivery(), got)
				}
				got = slices.Delete(got, i, i+1)
			}
			if len(got) > 0 {
				t.Errorf("what nobody sent: %+v", got)
			}
		})
	}
}

const sumsFile = "testdata/SHA256SUMS"

// TestRecordingsAreThoseRecorded holds that nobody changed a recording by hand.
func TestRecordingsAreThoseRecorded(t *testing.T) {
	want, err := os.ReadFile(sumsFile)
	if err != nil {
		t.Fatal(err)
	}
	if got := sums(t); !bytes.Equal(got, want) {
		t.Errorf("the recordings have\n%s\nand %s\n%s", got, sumsFile, want)
	}
}

// sums are the SHA-256 of all recordings, as sha256sum writes them.
func sums(t *testing.T) (b []byte) {
	t.Helper()
	for _, rec := range recordings {
		content, err := os.ReadFile(rec.path())
		if err != nil {
			t.Fatal(err)
		}
		b = fmt.Appendf(b, "%s  %s.pcapng\n", digest(content), rec.name)
	}
	return b
}

// replay returns what a Receiver makes of a recording.
func replay(t *testing.T, rec recording) (got []delivery) {
	r, err := norm.NewReceiver(norm.ReceiverConfig{Node: 99, Group: recordedGroup, Join: norm.JoinAll})
	if err != nil {
		t.Fatal(err)
	}
	sinks := make(map[norm.Handle]memory)
	streams := make(map[norm.Handle]bool) // that there is something to read from
	buffer := make([]byte, 4096)
	packets(t, rec, func(at time.Time, d trace.Datagram) {
		if d.From.Addr() != netip.AddrFrom4([4]byte{192, 0, 2, 1}) {
			return // the receiver's
		}
		r.Advance(at)
		r.Handle(at, norm.Datagram{From: d.From, To: d.To, B: d.B})
		for busy := true; busy; {
			busy = false
			for e := range r.Events() {
				busy = true
				o, _ := r.Object(e.Object)
				switch e.Kind {
				case norm.ObjectOffered:
					if o.Kind != norm.Stream {
						sinks[e.Object] = make(memory, o.Size)
					}
					if err := r.Accept(at, e.Object); err != nil {
						t.Error(err)
					}
				case norm.ObjectComplete:
					if o.Kind == norm.Stream {
						break // its end is read
					}
					got = append(got, delivery{kinds[o.Kind], hex.EncodeToString(o.Info), o.Size, digest(sinks[e.Object])})
				case norm.StreamReadable:
					streams[e.Object] = true
				case norm.ObjectAborted:
					t.Errorf("aborted: %v", e.Err)
				}
			}
			for io := range r.Requests() {
				busy = true
				if io.Op == norm.Write {
					sinks[io.Object].WriteAt(io.B, io.Offset)
				} else {
					sinks[io.Object].ReadAt(io.B, io.Offset)
				}
				r.Complete(at, io)
			}
		}
		for h := range streams {
			for piece := (norm.Piece{Len: 1}); piece.Len > 0; {
				var err error
				if piece, err = r.ReadStream(at, h, buffer); err != nil {
					t.Fatal(err)
				}
				sinks[h] = append(sinks[h], buffer[:piece.Len]...)
				if piece.End {
					o, _ := r.Object(h)
					got = append(got, delivery{kinds[o.Kind], hex.EncodeToString(o.Info), int64(len(sinks[h])), digest(sinks[h])})
				}
			}
			delete(streams, h)
		}
		for { // what it would say: nobody hears it
			if _, _, ok := r.Poll(at, nil); !ok {
				break
			}
		}
	})
	return got
}

// packets calls f with each datagram of a recording.
func packets(t *testing.T, rec recording, f func(time.Time, trace.Datagram)) {
	t.Helper()
	file, err := os.Open(rec.path())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	in, err := trace.NewReader(file)
	for err == nil {
		var p trace.Packet
		if p, err = in.Next(); err == nil {
			d, bad := trace.ParseFrame(p.Link, p.Data)
			if bad != nil {
				t.Fatal(bad)
			}
			f(p.Time, d)
		}
	}
	if err != io.EOF {
		t.Fatal(err)
	}
}

// TestReplayedMessagesEncodeAgain parses all that NRL's implementation sent and encodes it again, to the same bytes.
func TestReplayedMessagesEncodeAgain(t *testing.T) {
	seen := make(map[string]int)
	for _, rec := range recordings {
		packets(t, rec, func(_ time.Time, d trace.Datagram) {
			var dec wire.Decoder
			m, err := dec.Parse(d.B)
			if err != nil {
				t.Fatalf("%s: %v: %x", rec.name, err, d.B)
			}
			kind, _, _ := bytes.Cut([]byte(m.String()), []byte(" "))
			seen[string(kind)]++
			if b, err := m.AppendBinary(nil); err != nil || !bytes.Equal(b, d.B) {
				t.Errorf("%s: %v: %v\n %x\nis\n %x", rec.name, m, err, b, d.B)
			}
		})
	}
	for _, kind := range []string{"INFO", "DATA", "NACK", "ACK(CC)", "ACK(FLUSH)", "CMD(CC)", "CMD(FLUSH)", "CMD(REPAIR_ADV)"} {
		if seen[kind] == 0 {
			t.Errorf("no recording has a %s; there are %v", kind, seen)
		}
	}
}
