package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/normtest"
)

// mostProcesses is how many receivers of a comparison are processes; beyond it the session is simulated.
const mostProcesses = 100

// compare brings the image to n clients by HTTP, TFTP or NORM.
func (b *bench) compare(ctx context.Context, by string, n int) (r result, err error) {
	if by == "NORM" && n > mostProcesses {
		return b.simulate(n)
	} else if by == "NORM" {
		return b.session(ctx, n)
	}
	all := newCrew(ctx)
	defer all.Wait()
	s, err := startServer(all.ctx, by, len(b.content))
	if err != nil {
		return r, err
	}
	get, places := b.byHTTP, n
	if by == "TFTP" { // which takes 64 at a time, and four of one address
		if get, places = b.byTFTP, 60; runtime.GOOS != "linux" {
			places = 4 // other systems do not answer for all of 127.0.0.0/8
		}
	}
	var sent, verified atomic.Int64
	room, began := make(chan struct{}, places), time.Now()
	for i := range n {
		all.Go(func() error {
			room <- struct{}{}
			defer func() { <-room }()
			bytes, err := get(all.ctx, s.addr, i)
			if err == nil {
				sent.Add(bytes)
				verified.Add(1)
			}
			return err
		})
	}
	all.members.Wait()
	r.seconds = time.Since(began).Seconds()
	r.user, r.system = s.stop()
	r.verified, r.sent = int(verified.Load()), float64(sent.Load())/float64(len(b.content))
	return r, all.Wait()
}

// A meter counts what is read from a connection.
type meter struct {
	net.Conn
	bytes int64
}

func (m *meter) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	m.bytes += int64(n)
	return n, err
}

// byHTTP is one client, and returns how many bytes the server sent to it.
func (b *bench) byHTTP(ctx context.Context, addr string, _ int) (int64, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp4", addr)
	if err != nil {
		return 0, err
	}
	m := &meter{Conn: c}
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return m, nil },
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/image.bin", nil)
	if err != nil {
		return 0, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	err = b.verify(answer.Body)
	return m.bytes, err
}

// verify holds a stream against the image, without a copy of it for each client.
func (b *bench) verify(stream io.Reader) error {
	buf, rest := make([]byte, 32<<10), b.content
	for {
		n, err := stream.Read(buf)
		if n > len(rest) || !bytes.Equal(buf[:n], rest[:n]) {
			return errors.New("what came is not the image")
		}
		rest = rest[n:]
		if err == io.EOF && len(rest) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%d bytes are missing: %w", len(rest), err)
		}
	}
}

// Opcodes of RFC 1350 and 2347, and the block that is asked for: what fits in an Ethernet frame.
const (
	opRead, opData, opAck, opError, opOAck = 1, 3, 4, 5, 6

	block = 1428
)

// byTFTP is one client, from an address of its own. It asks again when nothing comes, as packets can be lost where many come
// at once.
func (b *bench) byTFTP(ctx context.Context, addr string, i int) (received int64, err error) {
	server, err := net.ResolveUDPAddr("udp4", addr)
	if err != nil {
		return 0, err
	}
	local := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}
	if runtime.GOOS == "linux" {
		local.IP = net.IPv4(127, 1, byte(i>>8), byte(i))
	}
	c, err := net.ListenUDP("udp4", local)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	last := append([]byte{0, opRead}, fmt.Sprintf("image.bin\x00octet\x00blksize\x00%d\x00", block)...)
	to, rest, buf := server, b.content, make([]byte, 2048)
	for want := uint16(1); ; {
		if _, err := c.WriteToUDP(last, to); err != nil {
			return received, err
		}
		n, from, err := answer(ctx, c, buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
		case err != nil:
			return received, err
		}
		received += int64(n)
		switch op, number := binary.BigEndian.Uint16(buf), binary.BigEndian.Uint16(buf[2:]); {
		case op == opOAck:
			to, last = from, []byte{0, opAck, 0, 0}
		case op == opData && number == want:
			data := buf[4:n]
			if len(data) > len(rest) || !bytes.Equal(data, rest[:len(data)]) {
				return received, errors.New("what came is not the image")
			}
			rest, last = rest[len(data):], binary.BigEndian.AppendUint16([]byte{0, opAck}, number)
			if want++; len(data) < block {
				_, err := c.WriteToUDP(last, to)
				return received, err
			}
		case op == opError:
			return received, fmt.Errorf("the server says %q", buf[4:n])
		}
	}
}

// answer waits for one packet, for a second.
func answer(ctx context.Context, c *net.UDPConn, buf []byte) (n int, from *net.UDPAddr, err error) {
	if err := ctx.Err(); err != nil {
		return 0, nil, context.Cause(ctx)
	}
	c.SetReadDeadline(time.Now().Add(time.Second))
	if n, from, err = c.ReadFromUDP(buf); err == nil && n < 4 {
		err = errors.New("a packet of less than four bytes")
	}
	return n, from, err
}

// simulate is one NORM session in virtual time, with the real state machines, and every byte verified. It loses nothing, as
// loopback does not.
func (b *bench) simulate(n int) (r result, err error) {
	net, done := normtest.New(1), 0
	link := normtest.Link{Delay: 10 * time.Millisecond}
	s, err := net.AddSender("s", nil, normtest.Link{}, link, norm.SenderConfig{Node: 1, Rate: mostRate, GRTT: 50 * time.Millisecond, GroupSize: n})
	if err != nil {
		return r, err
	}
	for i := range n {
		id := norm.NodeID(i + 2)
		receiver, err := net.AddReceiver("r", nil, normtest.Link{}, link, norm.ReceiverConfig{Node: id, Seed: uint64(id)})
		if err != nil {
			return r, err
		}
		note := receiver.Host.OnEvent
		receiver.Host.OnEvent = func(e norm.Event) {
			if note(e); e.Kind == norm.ObjectComplete { // and it is as it should be, else normtest panics
				done++
			}
		}
	}
	if _, _, err := s.Send(norm.Object{Size: int64(len(b.content))}, nil); err != nil {
		return r, err
	}
	net.RunUntil(patience, func() bool { return done == n })
	st := s.Core.Stats()
	return result{verified: done, rate: mostRate, seconds: net.Elapsed().Seconds(), sent: float64(st.Bytes) / float64(len(b.content)), simulated: true}, nil
}
