//go:build !linux

package doctor

import (
	"context"
	"errors"
	"net"
	"net/netip"
)

type tap struct{}

func openTap(*net.Interface, netip.AddrPort) (*tap, error) {
	return nil, errors.New("only on Linux")
}

func (*tap) close()                              {}
func (*tap) read(context.Context, chan<- packet) {}
