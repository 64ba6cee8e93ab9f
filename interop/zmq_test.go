//go:build linux

package interop

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"testing"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/udp"
)

// zmqMessages is how many two-part messages are published.
const zmqMessages = 100

var zmqProgram = &program{name: "zmq", library: "zmq", pkg: "libzmq"}

func zmqExchanges() []exchange {
	return []exchange{{what: fmt.Sprintf("%d two-part messages, some packets lost", zmqMessages), ways: []way{
		{"libzmq PUB → Go", zmqToOurs}, {"Go → libzmq SUB", oursToZMQ},
	}}}
}

// startZMQ runs peers/zmq.cpp with a socket at the session of a node.
func startZMQ(t *testing.T, socket string, id norm.NodeID, r *relay, node int, args ...string) *peer {
	t.Helper()
	path := zmqProgram.require(t)
	if err := exec.Command(path, "has").Run(); err != nil {
		need(t, errors.New("this libzmq was built without NORM, says zmq_has"))
	}
	url := fmt.Sprintf("norm://%d,lo;%v", id, r.taps[node].at)
	cmd := command(t, nil, path, append([]string{socket, url}, args...)...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, cmd, "libzmq "+socket, stdin.Close, func(line []byte) (e event, err error) { return e, json.Unmarshal(line, &e) })
	p.await(t, "ready")
	return p
}

// lostFrames loses a few packets only: a publisher controls its rate by what is lost.
func lostFrames() loss {
	return once(func(p packet) bool {
		return symbol(1, 5)(p) || symbol(4, 2)(p) || symbol(4, 15)(p)
	})
}

// zmqBody is the second part of a message; the first is "topic".
func zmqBody(i int) string { return fmt.Sprintf("number %d", i) }

func zmqToOurs(t *testing.T) {
	r := newRelay(t, multicast4, 2, lostFrames())
	streams := make(chan *session.StreamReader, 1)
	node{at: r.taps[1].at}.open(t, udp.Receiver, session.Config{
		Receive: &norm.ReceiverConfig{Node: 10, Group: r.taps[1].at, Join: norm.JoinAll},
		OfferStream: func(r *session.StreamReader, _ norm.ReceivedObject) bool {
			streams <- r
			return true
		},
	})
	startZMQ(t, "pub", senderID, r, 0, fmt.Sprint(zmqMessages))
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errors.New("too late"))
	defer cancel()
	var stream *session.StreamReader
	select {
	case stream = <-streams:
	case <-ctx.Done():
		t.Fatal("no stream was offered")
	}
	in := bufio.NewReader(readerFunc(func(b []byte) (int, error) {
		piece, err := stream.ReadPiece(ctx, b)
		return piece.Len, err
	}))
	for i := range zmqMessages {
		for part, want := range []string{"topic", zmqBody(i)} {
			body, first, more, err := readZMQ(in)
			if err != nil || string(body) != want || first != (part == 0) || more != (part == 0) {
				t.Fatalf("message %d part %d: %q, first %v, more %v, %v; want %q", i, part, body, first, more, err, want)
			}
		}
	}
}

func oursToZMQ(t *testing.T) {
	r := newRelay(t, multicast4, 2, lostFrames())
	x := transfer{code: fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 1400, MaxBlockLen: 16, MaxParity: 4}}
	sub := startZMQ(t, "sub", 10, r, 1)
	n := x.sender(r.taps[0].at)
	s := n.open(t, udp.Sender, session.Config{Send: n.senderConfig()})
	w, err := s.OpenStream(t.Context(), norm.StreamConfig{Buffer: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for i := range zmqMessages {
		for _, frame := range [][]byte{appendZMQ(nil, "topic", true, true), appendZMQ(nil, zmqBody(i), false, false)} {
			if _, err := w.WriteContext(t.Context(), frame); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(w.EndMessage(), w.FlushMode(norm.FlushPassive)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	for i := range zmqMessages {
		for part, want := range []string{"topic", zmqBody(i)} {
			e := sub.await(t, "part")
			if e.Info != hex.EncodeToString([]byte(want)) || e.More != (part == 0) {
				t.Fatalf("message %d part %d: %+v; want %q", i, part, e, want)
			}
		}
	}
}

// readerFunc is an io.Reader.
type readerFunc func(b []byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// Flags of a frame of ZMTP 2.0.
const (
	zmqMore = 1
	zmqLong = 2
)

// appendZMQ appends a frame as libzmq puts it in a stream: a byte that says whether it is the first of a message, flags, size,
// body.
func appendZMQ(b []byte, body string, first, more bool) []byte {
	mark, flags := byte(0xff), byte(0)
	if first {
		mark = 0
	}
	if more {
		flags = zmqMore
	}
	return append(append(b, mark, flags, byte(len(body))), body...)
}

// readZMQ reads such a frame.
func readZMQ(in *bufio.Reader) (body []byte, first, more bool, err error) {
	var head [3]byte
	if _, err := io.ReadFull(in, head[:2]); err != nil {
		return nil, false, false, err
	}
	size := make([]byte, 1)
	if head[1]&zmqLong != 0 {
		size = make([]byte, 8)
	}
	if _, err := io.ReadFull(in, size); err != nil {
		return nil, false, false, err
	}
	n := binary.BigEndian.Uint64(append(make([]byte, 8-len(size)), size...))
	if n > 1<<20 {
		return nil, false, false, fmt.Errorf("a frame of %d bytes", n)
	}
	body = make([]byte, n)
	_, err = io.ReadFull(in, body)
	return body, head[0] == 0, head[1]&zmqMore != 0, err
}
