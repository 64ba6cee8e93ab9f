package e2e

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/multicast-upgrade/tool/internal/netns"
	"github.com/multicast-upgrade/tool/norm/wire"
)

// TestAttackForgedSegmentsOnTheWire has a host of the network forge a datagram for each ten of the server's: with the
// server's node id, instance, object and code, of any symbol of any block, and a payload of its own. Half of them come from
// the server's address and port. All devices end with the image, nothing wrong stands under a name that says it is staged,
// and what the server sends for it stays within bounds.
func TestAttackForgedSegmentsOnTheWire(t *testing.T) {
	t.Parallel()
	netns.Require(t)
	tests := []struct {
		name   string
		inject bool
		most   float64
		flags  []string
	}{
		{"alone", false, 1, []string{"--auth", "off"}},
		{"forged", true, 2, []string{"--auth", "off"}},
		{"forged, with segment hashes", true, 2, []string{"--auth", "off", "--segment-hashes"}},
		{"forged, with EXT_AUTH", true, 1.2, []string{"--auth", "on"}},
	}
	ran := make([]*injector, len(tests))
	t.Run("networks", func(t *testing.T) {
		for i, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				ran[i] = attack(t, test.inject, test.flags)
			})
		}
	})
	if t.Failed() {
		return
	}
	alone := float64(ran[0].heard.Load())
	for i, test := range tests {
		x := ran[i]
		forged, datagrams, ratio := x.forged.Load(), x.datagrams.Load(), float64(x.heard.Load())/alone
		t.Logf("%s: %d forged for %d of the server; it sent %.3f times the bytes that it sends alone, %d leaves were rejected", test.name, forged, datagrams, ratio, x.rejected)
		if test.inject && 11*forged < datagrams || ratio > test.most {
			t.Errorf("%s: %d forged for %d of the server, %.3f times the bytes; want a tenth and at most %g", test.name, forged, datagrams, ratio, test.most)
		}
	}
}

// An injector is a host that hears the server and forges what it sends.
type injector struct {
	t                        testing.TB
	fleet                    *fleet
	conn                     *ipv4.PacketConn
	raw                      int // socket that writes IP headers
	server                   netip.Addr
	heard, datagrams, forged atomic.Int64 // bytes and datagrams of the server, datagrams of ours
	rejected                 int
}

// attack runs a campaign of four devices, with an injector or just somebody who counts.
func attack(t *testing.T, inject bool, flags []string) *injector {
	hosts := netns.New(t, 6).Hosts()
	f := newFleetOn(t, hosts[0], hosts[1:5], 4<<20)
	x := &injector{t: t, fleet: f, server: hosts[0].IPv4()}
	var err error
	if hosts[5].Do(func() { err = x.listen() }); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		x.run(inject)
	}()
	f.join()
	f.serve(append(flags, "--rate", "20M", "--linger", "0s")...).wantExit(0)
	x.conn.Close()
	<-done
	for _, d := range f.devices {
		d.wantExit(0)
		d.wantCalls("verify", "activate", "health")
		x.rejected += len(d.all("leaf-rejected"))
		if n := len(d.all("fallback")); n != 0 {
			t.Errorf("%s gave multicast up", d.name)
		}
	}
	return x
}

// listen joins the group.
func (x *injector) listen() error {
	conn, err := net.ListenPacket("udp4", x.fleet.group.String())
	if err != nil {
		return err
	}
	x.conn = ipv4.NewPacketConn(conn)
	if x.raw, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW); err != nil {
		return err
	}
	x.t.Cleanup(func() { unix.Close(x.raw) })
	ifc, err := net.InterfaceByName(netns.Interface)
	if err != nil {
		return err
	}
	return x.conn.JoinGroup(ifc, net.UDPAddrFromAddrPort(x.fleet.group))
}

// run hears the server until the socket is closed.
func (x *injector) run(inject bool) {
	random := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 2000)
	for {
		n, _, from, err := x.conn.ReadFrom(b)
		if err != nil {
			return
		}
		source := from.(*net.UDPAddr).AddrPort()
		if source.Addr().Unmap() != x.server {
			continue
		}
		x.heard.Add(int64(n))
		count := x.datagrams.Add(1)
		var m wire.Data
		if !inject || m.Parse(b[:n]) != nil || m.Object != 1 {
			continue
		}
		if count%10 == 0 {
			x.forge(random, &m, b[:n], source)
		}
		if count%100 == 0 {
			x.look()
		}
	}
}

// forge sends a datagram like that of the server, but for its symbol.
func (x *injector) forge(random *rand.Rand, m *wire.Data, b []byte, source netip.AddrPort) {
	block, esi := random.IntN(24), random.IntN(140) // of 4 MiB: 24 blocks of up to 128 source symbols
	binary.BigEndian.PutUint32(b[16:], uint32(block<<8|esi))
	for i := range m.Payload { // the end of the datagram
		m.Payload[i] = byte(random.Uint32())
	}
	x.forged.Add(1)
	if random.IntN(2) == 0 {
		if _, err := x.conn.WriteTo(b, nil, net.UDPAddrFromAddrPort(x.fleet.group)); err != nil {
			x.t.Error(err)
		}
		return
	}
	group := x.fleet.group.Addr().As4()
	from := source.Addr().Unmap().As4()
	ip := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 1, unix.IPPROTO_UDP, 0, 0} // the kernel fills in length, id and checksum
	ip = append(append(ip, from[:]...), group[:]...)
	ip = binary.BigEndian.AppendUint16(ip, source.Port())
	ip = binary.BigEndian.AppendUint16(ip, x.fleet.group.Port())
	ip = binary.BigEndian.AppendUint16(ip, uint16(8+len(b)))
	ip = append(append(ip, 0, 0), b...) // without a checksum
	if err := unix.Sendto(x.raw, ip, 0, &unix.SockaddrInet4{Addr: group}); err != nil {
		x.t.Error(err)
	}
}

// look fails if anything wrong stands under a name that says it is staged.
func (x *injector) look() {
	for _, d := range x.fleet.devices {
		staged, _ := filepath.Glob(filepath.Join(d.dir, "stage/*/image/*"))
		for _, name := range append(staged, filepath.Join(d.dir, "current/fw.bin")) {
			if content, err := os.ReadFile(name); err == nil && sumOf(content) != x.fleet.sum {
				x.t.Errorf("%s has wrong bytes", name)
			}
		}
	}
}
