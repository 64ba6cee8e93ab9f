package upgrade

import (
	"context"
	"net"
)

// DialWith lets a Control reach listeners that are not the system's.
func (c *Control) DialWith(dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	c.dial = dial
}
