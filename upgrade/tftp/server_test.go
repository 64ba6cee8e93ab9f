package tftp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// memory is files of one name each.
type memory map[string][]byte

type memoryFile struct{ *bytes.Reader }

func (memoryFile) Close() error           { return nil }
func (f memoryFile) Size() (int64, error) { return f.Reader.Size(), nil }

func (m memory) Open(name string) (File, error) {
	b, ok := m[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return memoryFile{bytes.NewReader(b)}, nil
}

// serve starts a server on loopback.
func serve(t testing.TB, files Files) (*Server, *net.UDPAddr) {
	t.Helper()
	return serveAt(t, files, "127.0.0.1:0")
}

func serveAt(t testing.TB, files Files, at string) (*Server, *net.UDPAddr) {
	t.Helper()
	addr, err := net.ResolveUDPAddr("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUDP("udp", addr)
	if err != nil {
		t.Skipf("no such address here: %v", err)
	}
	s := &Server{Files: files}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { s.Serve(ctx, conn); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return s, conn.LocalAddr().(*net.UDPAddr)
}

// A client is a TFTP client that does as the test says.
type client struct {
	t    testing.TB
	conn *net.UDPConn
	to   *net.UDPAddr // the server's port, and then that of the transfer
}

func newClient(t testing.TB, server *net.UDPAddr) *client {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{t, conn, server}
}

func (c *client) send(b []byte) {
	c.t.Helper()
	if _, err := c.conn.WriteToUDP(b, c.to); err != nil {
		c.t.Fatal(err)
	}
}

// receive returns the next packet, which has to come within a generous time.
func (c *client) receive() []byte {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	b := make([]byte, 2048)
	n, from, err := c.conn.ReadFromUDP(b)
	if err != nil {
		c.t.Fatal(err)
	}
	c.to = from
	return b[:n]
}

func (c *client) ack(block uint16) { c.send(binary.BigEndian.AppendUint16([]byte{0, opAck}, block)) }

func readRequest(name string, options ...string) []byte {
	return []byte("\x00\x01" + strings.Join(append([]string{name, "octet"}, options...), "\x00") + "\x00")
}

// fetch gets a file in blocks of a size.
func (c *client) fetch(first []byte, size int) []byte {
	c.t.Helper()
	var got []byte
	for block := uint16(1); ; block++ {
		p := first
		if first = nil; p == nil {
			p = c.receive()
		}
		if len(p) < 4 || binary.BigEndian.Uint16(p) != opData || binary.BigEndian.Uint16(p[2:]) != block {
			c.t.Fatalf("%q, want DATA %d", p, block)
		}
		got = append(got, p[4:]...)
		c.ack(block)
		if len(p)-4 < size {
			return got
		}
	}
}

func TestServesWithoutOptions(t *testing.T) {
	for _, size := range []int{0, 1, 511, 512, 513, 1024, 100_000} {
		want := bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7}, size/7+1)[:size]
		_, addr := serve(t, memory{"fw": want})
		c := newClient(t, addr)
		c.send(readRequest("fw"))
		if got := c.fetch(nil, 512); !bytes.Equal(got, want) {
			t.Errorf("%d bytes came, want %d", len(got), size)
		}
	}
}

// TestServesWhereItListens: the answers come from a port of the transfer, and the address that was asked.
func TestServesWhereItListens(t *testing.T) {
	want := bytes.Repeat([]byte("x"), 1000)
	for _, test := range []struct{ listen, from, to string }{
		{":0", "127.0.0.1:0", "127.0.0.1"}, {"0.0.0.0:0", "127.0.0.1:0", "127.0.0.1"}, {"[::1]:0", "[::1]:0", "::1"},
	} {
		t.Run(test.listen, func(t *testing.T) {
			_, addr := serveAt(t, memory{"fw": want}, test.listen)
			from, err := net.ResolveUDPAddr("udp", test.from)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := net.ListenUDP("udp", from)
			if err != nil {
				t.Skip(err)
			}
			defer conn.Close()
			c := &client{t, conn, &net.UDPAddr{IP: net.ParseIP(test.to), Port: addr.Port}}
			c.send(readRequest("fw"))
			if got := c.fetch(nil, 512); !bytes.Equal(got, want) || c.to.Port == addr.Port || !c.to.IP.Equal(net.ParseIP(test.to)) {
				t.Errorf("%d bytes came from %v, asked was port %d", len(got), c.to, addr.Port)
			}
		})
	}
}

// TestBlockNumbersWrap: at 65536 blocks it goes on with 0.
func TestBlockNumbersWrap(t *testing.T) {
	want := bytes.Repeat([]byte("wrapping"), 65600)
	_, addr := serve(t, memory{"fw": want})
	c := newClient(t, addr)
	c.send(readRequest("fw", "blksize", "8"))
	if got, oack := c.receive(), "\x00\x06blksize\x008\x00"; string(got) != oack {
		t.Fatalf("%q, want %q", got, oack)
	}
	c.ack(0)
	if got := c.fetch(nil, 8); !bytes.Equal(got, want) {
		t.Errorf("%d bytes came, want %d", len(got), len(want))
	}
}

func TestOptions(t *testing.T) {
	_, addr := serve(t, memory{"fw": make([]byte, 5000)})
	for _, test := range []struct{ options, want string }{
		{"blksize 1024", "\x00\x06blksize\x001024\x00"},
		{"BLKSIZE 65464", "\x00\x06blksize\x001428\x00"}, // less than asked for
		{"tsize 0", "\x00\x06tsize\x005000\x00"},
		{"timeout 3", "\x00\x06timeout\x003\x00"},
		{"blksize 600 tsize 0 timeout 1 windowsize 8", "\x00\x06blksize\x00600\x00timeout\x001\x00tsize\x005000\x00"},
		{"windowsize 8", ""}, // unknown: no OACK, but data
		{"blksize 7", ""},
		{"timeout 0", ""},
		{"timeout 255 tsize 0", "\x00\x06tsize\x005000\x00"},
		{"blksize -1", ""},
	} {
		c := newClient(t, addr)
		c.send(readRequest("fw", strings.Fields(test.options)...))
		got := c.receive()
		if test.want == "" && (len(got) != 4+512 || got[1] != opData) || test.want != "" && string(got) != test.want {
			t.Errorf("%s: %q, want %q", test.options, got, test.want)
		}
		c.send(appendError(nil, &refusal{0, "enough"}))
	}
}

// TestAttackRequests sends what no client sends. Nothing of it is answered with more than it is long, or reaches the files.
func TestAttackRequests(t *testing.T) {
	asked := opened{}
	s, addr := serve(t, &asked)
	good := readRequest("fw")
	for name, b := range map[string][]byte{
		"empty":         {},
		"an opcode":     {0, 1},
		"no mode":       []byte("\x00\x01fw\x00"),
		"no end":        good[:len(good)-1],
		"data":          []byte("\x00\x03\x00\x01data\x00"),
		"ack":           {0, 4, 0, 0},
		"error":         []byte("\x00\x05\x00\x00no\x00"),
		"opcode 257":    append([]byte{1, 1}, good[2:]...),
		"half option":   []byte("\x00\x01fw\x00octet\x00blksize\x00"),
		"name of 5 KiB": readRequest(strings.Repeat("a", 5<<10)),
		"all zero":      make([]byte, 511), // an even number of fields would be a write request of nothing
		"garbage":       bytes.Repeat([]byte{0xff, 0x00, 0x01}, 100),
	} {
		before := s.Stats().Dropped
		c := newClient(t, addr)
		c.send(b)
		c.to = addr
		c.send(readRequest("none")) // answered after it
		if got := c.receive(); got[1] != opError || !strings.Contains(string(got), "no such image") {
			t.Errorf("%s is answered: %q", name, got)
		}
		if got := s.Stats().Dropped - before; got != 1 {
			t.Errorf("%s: %d packets are dropped, want 1", name, got)
		}
	}
	for name, test := range map[string]struct {
		b    []byte
		code uint16
	}{
		"write":           {[]byte("\x00\x02fw\x00octet\x00"), codeAccess},
		"netascii":        {[]byte("\x00\x01fw\x00netascii\x00"), codeIllegal},
		"mail":            {[]byte("\x00\x01fw\x00mail\x00"), codeIllegal},
		"option twice":    {readRequest("fw", "blksize", "8", "BlkSize", "9"), codeOption},
		"dots":            {readRequest("../../etc/passwd"), codeNotFound},
		"absolute":        {readRequest("/etc/passwd"), codeNotFound},
		"no name":         {readRequest(""), codeNotFound},
		"a dot":           {readRequest("."), codeNotFound},
		"backslashes":     {readRequest(`..\fw`), codeNotFound},
		"hundreds of ../": {readRequest(strings.Repeat("../", 150)), codeNotFound},
	} {
		c := newClient(t, addr)
		c.send(test.b)
		if got := c.receive(); binary.BigEndian.Uint16(got) != opError || binary.BigEndian.Uint16(got[2:]) != test.code || len(got) > 64 {
			t.Errorf("%s: %q, want error %d", name, got, test.code)
		}
	}
}

// opened is Files that has nothing.
type opened struct{}

func (*opened) Open(string) (File, error) { return nil, fs.ErrNotExist }

// TestAttackAmplification asks with an address that does not answer, as if it were forged: it gets one block, three times.
func TestAttackAmplification(t *testing.T) {
	s, addr := serve(t, memory{"fw": make([]byte, 1<<20)})
	c := newClient(t, addr)
	c.send(readRequest("fw", "blksize", "65464", "timeout", "1"))
	first := c.receive()
	if len(first) > maxRequest {
		t.Errorf("the first answer has %d bytes", len(first))
	}
	for range maxFirstTries - 1 {
		if again := c.receive(); !bytes.Equal(again, first) {
			t.Errorf("then %q came", again)
		}
	}
	for s.Stats().Silent == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	c.to = addr
	c.send(readRequest("none")) // what was sent before comes before its answer
	if p := c.receive(); p[1] != opError {
		t.Errorf("after the transfer was given up %d bytes came", len(p))
	}
}

func TestAttackManyTransfers(t *testing.T) {
	s, addr := serve(t, memory{"fw": make([]byte, 1<<20)})
	for range maxOfSource {
		c := newClient(t, addr)
		c.send(readRequest("fw"))
		c.receive()
	}
	c := newClient(t, addr)
	c.send(readRequest("fw"))
	c.send([]byte("\x00\x02fw\x00octet\x00")) // refused at once, whatever the limits
	if got := c.receive(); got[1] != opError {
		t.Errorf("one address has %d transfers: %q", maxOfSource+1, got)
	}
	if s.Stats().Dropped != 1 {
		t.Errorf("%+v", s.Stats())
	}
}

// TestSorcerersApprentice: a second ACK of a block does not bring a second copy of the next one.
func TestSorcerersApprentice(t *testing.T) {
	_, addr := serve(t, memory{"fw": make([]byte, 1500)})
	c := newClient(t, addr)
	c.send(readRequest("fw", "timeout", "10"))
	c.receive()
	c.ack(0)
	c.receive()
	for range 5 {
		c.ack(1)
	}
	for block := uint16(2); block <= 3; block++ {
		if p := c.receive(); binary.BigEndian.Uint16(p[2:]) != block {
			t.Errorf("block %d came, want %d", binary.BigEndian.Uint16(p[2:]), block)
		}
		c.ack(block)
	}
}

// TestDebianClient gets a file with the client of tftp-hpa, if there is one.
func TestDebianClient(t *testing.T) {
	program, err := exec.LookPath("tftp")
	if err != nil {
		t.Skip("there is no tftp")
	}
	want := bytes.Repeat([]byte("firmware"), 20_000)
	_, addr := serve(t, memory{"fw": want})
	out := filepath.Join(t.TempDir(), "fw")
	cmd := exec.Command(program, "-4", "-m", "octet", addr.IP.String(), strconv.Itoa(addr.Port), "-c", "get", "fw", out)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes came, want %d (%v)", len(got), len(want), err)
	}
}

func FuzzRequest(f *testing.F) {
	f.Add(readRequest("fw", "blksize", "1024", "tsize", "0", "timeout", "3"))
	f.Add(readRequest("fw"))
	f.Add([]byte("\x00\x02fw\x00octet\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRequest(b)
		if refused, ok := errors.AsType[*refusal](err); ok && len(appendError(nil, refused)) > 64 {
			t.Errorf("a long error: %v", err)
		}
		if err != nil {
			return
		}
		if len(r.name) >= len(b) || r.block < minBlock || r.block > maxBlock || r.timeout < 0 || r.timeout > maxTimeout {
			t.Errorf("%+v of %q", r, b)
		}
		if oack := r.appendOAck(nil, 1<<40); len(oack) > 64 {
			t.Errorf("the answer %q is long", oack)
		}
	})
}
