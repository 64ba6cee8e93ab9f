//go:build linux

package interop

import (
	"context"
	"encoding/binary"
	"io"
	"slices"
	"testing"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/session"
)

// messageSizes are those of messages in segments of 1024 bytes, in turn.
var messageSizes = []int{3, 1024, 1025, 700, 3 * 1024, 64}

func streamExchanges() []exchange {
	x := transfer{objects: []object{messages(200, messageSizes)}}
	lossy := x
	lossy.lose = everyThird
	wrapping := lossy
	wrapping.tune = func(n *node) { n.streamOffset = 1<<32 - 50_000 }
	rows := []exchange{
		{what: "200 messages of 1 byte to 3 segments", ways: x.bothWays()},
		{what: "200 messages, every third packet lost, " + codeName(usualCode), ways: lossy.bothWays()},
	}
	for _, code := range []fec.Params{codes[1], codes[3]} {
		lossy.code = code
		rows = append(rows, exchange{what: "200 messages, every third packet lost, " + codeName(code), ways: lossy.bothWays()})
	}
	return append(rows,
		exchange{what: "200 messages, 5 % loss at random at each of two receivers", ways: transfer{receivers: 2, objects: x.objects}.inNet(0.05)},
		exchange{what: "payload_offset passes 2^32, every third packet lost", ways: []way{wrapping.way(ours, nrl)}},
		exchange{what: "a receiver that comes in the middle of a stream begins with a whole message", ways: eachWay(lateToStream)},
	)
}

// write writes a stream and closes it.
func (o object) write(ctx context.Context, w *session.StreamWriter) error {
	for i, rest := 0, o.content; len(rest) > 0; i++ {
		n := min(o.sizes[i%len(o.sizes)], len(rest))
		if _, err := w.WriteContext(ctx, rest[:n]); err != nil {
			return err
		}
		if err := w.EndMessage(); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return w.Close()
}

// readStream reads a stream from the first message that begins, to its end.
func readStream(ctx context.Context, r *session.StreamReader) (content []byte, err error) {
	b := make([]byte, 10_000)
	for begun := false; ; {
		piece, err := r.ReadPiece(ctx, b)
		if begun = begun || piece.Start; begun {
			content = append(content, b[:piece.Len]...)
		}
		if err == io.EOF {
			return content, nil
		}
		if err != nil {
			return content, err
		}
	}
}

// lateToStream starts the receiver when some of the stream is gone for good.
func lateToStream(t *testing.T, from, to implementation) {
	o := messages(600, messageSizes)
	x := transfer{objects: []object{o}, tune: func(n *node) {
		n.rate, n.join = 4e6, norm.JoinCurrent
		n.extra = []string{"seek=", "streambuffer=200000"}
	}}
	r := x.network(t)
	part := r.awaitData(0, 4)
	from.send(t, x.sender(r.taps[0].at))
	<-part
	got := to.receive(t, x.receiver(0, r.taps[1].at)).await(t, "completed")
	if got.Size == 0 || got.Size >= int64(len(o.content)) {
		t.Fatalf("%d bytes of %d: it did not come in the middle", got.Size, len(o.content))
	}
	tail := o.content[int64(len(o.content))-got.Size:]
	if digest(tail) != got.SHA256 {
		t.Error("content differs")
	}
	if !slices.Contains(starts(o), len(o.content)-len(tail)) {
		t.Errorf("what is received begins %d bytes into a stream whose messages begin elsewhere", len(o.content)-len(tail))
	}
}

// starts are the offsets at which the messages of a stream begin.
func starts(o object) (at []int) {
	for n := 0; n < len(o.content); n += int(binary.BigEndian.Uint16(o.content[n:])) {
		at = append(at, n)
	}
	return at
}
