package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/tftp"
)

// A gateway is what an agent serves to others of its site.
type gateway struct {
	http string // address and port; empty: not at all
	tftp string

	unsealed bool // what came sealed is given to whoever fetches a file

	listener net.Listener
	packets  *net.UDPConn
}

// listen opens the ports, so that one which is taken is found out now.
func (g *gateway) listen() (err error) {
	if g.http != "" {
		if g.listener, err = net.Listen("tcp", g.http); err != nil {
			return fmt.Errorf("--serve %s: %w", g.http, err)
		}
	}
	if g.tftp == "" {
		return nil
	}
	addr, err := net.ResolveUDPAddr("udp", g.tftp)
	if err == nil {
		g.packets, err = net.ListenUDP("udp", addr)
	}
	if err != nil {
		return fmt.Errorf("--serve-tftp %s: %w", g.tftp, err)
	}
	return nil
}

// close closes the ports, for an agent that does not run.
func (g *gateway) close() {
	if g.listener != nil {
		g.listener.Close()
	}
	if g.packets != nil {
		g.packets.Close()
	}
}

// images are what is offered by TFTP.
type images struct{ *upgrade.Gateway }

func (i images) Open(name string) (tftp.File, error) { return i.OpenImage(name) }

// serve answers until ctx ends, and returns what is to be waited for then.
func (a *agent) serve(ctx context.Context, device *upgrade.Agent) (wait func()) {
	var work sync.WaitGroup
	offered := device.Gateway()
	offered.Unsealed = a.gateway.unsealed
	if l := a.gateway.listener; l != nil {
		a.progress.Line("gateway: http://%v/images/, and missing leaves for agents with --tail http://%v", l.Addr(), l.Addr())
		work.Go(func() { offered.Serve(ctx, l) })
	}
	if conn := a.gateway.packets; conn != nil {
		a.progress.Line("gateway: images by TFTP on %v", conn.LocalAddr())
		server := tftp.Server{Files: images{offered}, Log: a.config.Log}
		work.Go(func() { server.Serve(ctx, conn) })
	}
	if a.service.Watchdog > 0 {
		work.Go(func() { a.watch(ctx, device) })
	}
	return work.Wait
}

// watch tells the service manager, for as long as it is so, that the agent's loop goes round.
func (a *agent) watch(ctx context.Context, device *upgrade.Agent) {
	tick := time.NewTicker(a.service.Watchdog / 2)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if device.Alive(ctx) == nil {
			a.service.Notify("WATCHDOG=1")
		}
	}
}

// notify shows the service manager's people what goes on.
func notify(s cli.Service, line string) { s.Notify("STATUS=" + strings.ReplaceAll(line, "\n", " ")) }
