package trace_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/normtest"
	"github.com/multicast-upgrade/tool/norm/trace"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// A capture is a pcapng file in the making.
type capture struct {
	out bytes.Buffer
	w   *trace.Writer
}

func newCapture(t testing.TB) *capture {
	c := new(capture)
	var err error
	if c.w, err = trace.NewWriter(&c.out, "norm/trace test"); err != nil {
		t.Fatal(err)
	}
	if _, err = c.w.Interface(trace.LinkRaw, "simulated", ""); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *capture) add(at time.Time, d trace.Datagram) {
	c.w.Packet(0, trace.Packet{Time: at, Data: trace.AppendFrame(nil, d)})
}

// simulate runs a session with fec_id 129 in virtual time, in which two receivers miss this and that.
func (c *capture) simulate(t testing.TB) time.Time {
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	net := normtest.New(7)
	net.OnSend = func(p *normtest.Packet) { c.add(p.Sent, trace.Datagram{From: p.From.Addr, To: p.To, B: p.B}) }
	net.OnEvent = func(h *normtest.Host, e norm.Event) { c.w.Event(net.Now(), fmt.Sprintf("%s %v", h.Name, e.Kind)) }
	code, err := fec.ParseSpec("rs8-129:4,2")
	must(err)
	code.Dialect = fec.NRL // as receivers read fec_id 129 by default
	link := normtest.Link{Delay: 5 * time.Millisecond}
	s, err := net.AddSender("s", nil, link, link, norm.SenderConfig{Node: 1, Instance: 0x1234, FEC: code, SegmentSize: 32, GRTT: 100 * time.Millisecond, Rate: 1e5})
	must(err)
	lossy := normtest.Link{Delay: 5 * time.Millisecond, Loss: normtest.Random(0.3)}
	for i := range 2 {
		_, err = net.AddReceiver(fmt.Sprint("r", i+1), nil, link, lossy, norm.ReceiverConfig{Node: norm.NodeID(101 + i)})
		must(err)
	}
	_, _, err = s.Send(norm.Object{Kind: norm.File, Size: 290, Info: []byte("notes.txt")}, nil)
	must(err)
	net.Run(3 * time.Second)
	s.Host.Do(func(now time.Time) { s.Core.End(now) })
	net.Run(3 * time.Second)
	return net.Now()
}

// decode returns what a decoder says of a capture: text, or JSON.
func decode(t testing.TB, file []byte, json bool) []byte {
	r, err := trace.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	var d trace.Decoder
	var sum trace.Summary
	for n := uint64(1); ; n++ {
		p, err := r.Next()
		if err != nil {
			break
		}
		rec := trace.Record{Number: n, Time: p.Time, Direction: p.Direction, Comment: p.Comment, Event: p.Event}
		if p.Event == "" {
			if rec.Datagram, err = trace.ParseFrame(p.Link, p.Data); err != nil {
				t.Fatal(err)
			}
			d.Decode(&rec)
		}
		sum.Add(&rec)
		if json {
			out = rec.AppendJSON(out, normtest.Epoch, false)
		} else {
			out = rec.AppendText(out, normtest.Epoch)
		}
		out = append(out, '\n')
	}
	if json {
		return append(sum.AppendJSON(out), '\n')
	}
	return append(out, sum.String()...)
}

// TestSession holds a recorded session, and what is read of it, against testdata; -update records it again.
func TestSession(t *testing.T) {
	if flag.Lookup("update").Value.String() == "true" {
		c := newCapture(t)
		c.simulate(t)
		write(t, "session.pcapng", c.out.Bytes())
	}
	file, err := os.ReadFile("testdata/session.pcapng")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "session.txt", decode(t, file, false))
	golden(t, "session.json", decode(t, file, true))
}

// TestMalformed: what is wrong, and where.
func TestMalformed(t *testing.T) {
	c := newCapture(t)
	flush := must((&wire.Flush{Header: wire.Header{Source: 1}, Position: wire.Position{FECID: wire.RS8, Object: 1}}).AppendBinary(nil))
	for _, b := range [][]byte{nil, flush[:7], flush[:19], []byte("hello, world, this is not NORM")} {
		c.add(normtest.Epoch, trace.Datagram{From: normtest.Address(0), To: normtest.Group, B: b})
	}
	golden(t, "malformed.txt", decode(t, c.out.Bytes(), false))
}

// TestReadingFollowsSender: fec_id 2 with m = 16, and the parity of a stream, are known from an earlier EXT_FTI.
func TestReadingFollowsSender(t *testing.T) {
	c := newCapture(t)
	add := func(m wire.Message) {
		c.add(normtest.Epoch, trace.Datagram{From: normtest.Address(0), To: normtest.Group, B: must(m.AppendBinary(nil))})
	}
	h, position := wire.Header{Source: 1}, func(id wire.FECID, m uint8, symbol uint32) wire.Position {
		return must(wire.NewPosition(id, m, 1, wire.PayloadID{Block: 2, Symbol: symbol}))
	}
	payload := append(must(wire.StreamHeader{Len: 5, MsgStart: 1, Offset: 4096}.Append(nil)), "hello"...)
	add(&wire.Data{Header: h, Position: position(wire.RS, 16, 3)}) // m is not known
	add(&wire.Info{Header: h, FECID: wire.RS, Object: 1,
		Extensions: must(wire.AppendFTI(nil, wire.RS, wire.FTI{ObjectSize: 1e6, M: 16, SegmentSize: 1000, MaxBlockLen: 4, MaxN: 8}))})
	add(&wire.Data{Header: h, Flags: wire.FlagStream, Position: position(wire.RS, 16, 3), Payload: payload})
	add(&wire.Data{Header: h, Flags: wire.FlagStream, Position: position(wire.RS, 16, 4), Payload: payload})
	w := wire.NewRepairWriter(must((&wire.Nack{Header: wire.Header{Source: 7}, FeedbackHeader: wire.FeedbackHeader{Server: 1}}).AppendBinary(nil)), 1000)
	w.Item(wire.RepairSegment, position(wire.RS, 16, 3))
	c.add(normtest.Epoch, trace.Datagram{From: normtest.Address(1), To: normtest.Group, B: w.Bytes()})
	golden(t, "reading.txt", decode(t, c.out.Bytes(), false))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func write(t testing.TB, name string, b []byte) {
	if err := os.WriteFile("testdata/"+name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// golden compares b with a file of testdata, which -update writes.
func golden(t *testing.T, name string, b []byte) {
	t.Helper()
	if flag.Lookup("update").Value.String() == "true" {
		write(t, name, b)
	}
	want, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	got, wanted := bytes.Split(b, []byte("\n")), bytes.Split(want, []byte("\n"))
	for i := range min(len(got), len(wanted)) {
		if !bytes.Equal(got[i], wanted[i]) {
			t.Fatalf("%s:%d (rewritten by -update)\n got %s\nwant %s", name, i+1, got[i], wanted[i])
		}
	}
	if len(got) != len(wanted) {
		t.Errorf("%s: %d lines, want %d", name, len(got), len(wanted))
	}
}
