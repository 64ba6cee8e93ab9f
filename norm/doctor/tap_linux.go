package doctor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// A tap sees packets on an interface before firewall and rp_filter do: those to the group, and queries for members.
type tap struct {
	file  *os.File
	group netip.AddrPort
}

// openTap needs CAP_NET_RAW.
func openTap(ifi *net.Interface, group netip.AddrPort) (*tap, error) {
	proto := uint16(unix.ETH_P_IPV6)
	if group.Addr().Is4() {
		proto = unix.ETH_P_IP
	}
	// Without a protocol nothing arrives before the filter is there; SOCK_DGRAM begins at the IP header.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if errors.Is(err, unix.EPERM) {
		return nil, errors.New("needs root (CAP_NET_RAW)")
	} else if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	filter, err := bpf.Assemble(tapFilter(group.Addr()))
	if err == nil {
		err = attach(fd, filter)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto<<8 | proto>>8, Ifindex: ifi.Index})
	}
	if err == nil { // queries for groups that have no member on this host
		err = unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP,
			&unix.PacketMreq{Ifindex: int32(ifi.Index), Type: unix.PACKET_MR_ALLMULTI})
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &tap{file: os.NewFile(uintptr(fd), "packet socket"), group: group}, nil
}

// tapFilter takes UDP to the group and IGMP, or over IPv6 all with hop-by-hop options, which MLD has. It compares the
// last four bytes of the group, which is enough to keep the load away.
func tapFilter(group netip.Addr) []bpf.Instruction {
	protoAt, destAt, control := uint32(6), uint32(36), uint32(0)
	b := group.AsSlice()
	if group.Is4() {
		protoAt, destAt, control = 9, 16, unix.IPPROTO_IGMP
	}
	b = b[len(b)-4:]
	last := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: protoAt, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: control, SkipTrue: 3},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 3},
		bpf.LoadAbsolute{Off: destAt, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: last, SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{},
	}
}

func attach(fd int, filter []bpf.RawInstruction) error {
	program := make([]unix.SockFilter, len(filter))
	for i, f := range filter {
		program[i] = unix.SockFilter{Code: f.Op, Jt: f.Jt, Jf: f.Jf, K: f.K}
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}))
}

func (t *tap) close() { t.file.Close() }

// read sends what arrives to in, until the tap is closed or ctx ends.
func (t *tap) read(ctx context.Context, in chan<- packet) {
	raw, err := t.file.SyscallConn()
	if err != nil {
		return
	}
	b := make([]byte, 1<<16)
	for {
		var n int
		var from unix.Sockaddr
		err := raw.Read(func(fd uintptr) bool {
			n, from, err = unix.Recvfrom(int(fd), b, 0)
			return !errors.Is(err, unix.EAGAIN)
		})
		if err != nil {
			return // closed
		}
		if link, ok := from.(*unix.SockaddrLinklayer); !ok || link.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		p, ok := parseIP(b[:n], t.group)
		if !ok {
			continue
		}
		select {
		case in <- p:
		case <-ctx.Done():
			return
		}
	}
}
