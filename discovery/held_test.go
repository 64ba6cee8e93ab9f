package discovery

import (
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"time"
)

var heldPolls = flag.Int("held", 5000, "polls that BenchmarkHeldPolls holds")

// BenchmarkHeldPolls measures what a server pays for a poll that waits: over HTTP/2 on loopback, as many on one connection
// as it takes. The client is bare frames, so that nearly all memory is the server's.
func BenchmarkHeldPolls(b *testing.B) {
	h := NewHandler(&backend{})
	h.MaxWaiters = *heldPolls
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Skip(err)
	}
	srv := NewServer(h, nil)
	go srv.Serve(l)
	defer srv.Close()
	for b.Loop() {
		before := inUse()
		var conns []net.Conn
		for n := 0; n < *heldPolls; n += maxStreams {
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			conns = append(conns, conn)
			go io.Copy(io.Discard, conn)
			conn.Write(pollFrames(n, min(maxStreams, *heldPolls-n)))
		}
		for h.Waiting() < *heldPolls {
			time.Sleep(10 * time.Millisecond)
		}
		b.ReportMetric(float64(inUse()-before)/float64(*heldPolls), "B/poll")
		b.ReportMetric(float64(len(conns)), "connections")
		for _, conn := range conns {
			conn.Close()
		}
		for h.Waiting() > 0 {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// inUse returns what is in use, in bytes: the heap and stacks.
func inUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// pollFrames returns what a client sends that begins n polls, those of the devices from first on (RFC 9113, Section 4.1).
func pollFrames(first, n int) []byte {
	out := []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	out = append(out, 0, 0, 0, 4, 0, 0, 0, 0, 0) // SETTINGS, empty
	for i := range n {
		var head []byte
		for _, field := range [][2]string{
			{":method", "GET"}, {":scheme", "http"}, {":authority", "updates.example.net:8443"},
			{":path", fmt.Sprintf("/v1/notice?device=device-%d&wait=60", first+i)},
			{"if-none-match", noETag}, {"user-agent", "Go-http-client/2.0"}, {"accept-encoding", "gzip"},
		} {
			// A literal without indexing, with a literal name (RFC 7541, Section 6.2.2).
			head = append(append(head, 0, byte(len(field[0]))), field[0]...)
			head = append(append(head, byte(len(field[1]))), field[1]...)
		}
		const endStream, endHeaders = 1, 4
		out = append(out, 0, byte(len(head)>>8), byte(len(head)), 1, endStream|endHeaders)
		out = binary.BigEndian.AppendUint32(out, uint32(2*i+1))
		out = append(out, head...)
	}
	return out
}
