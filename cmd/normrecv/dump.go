package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/norm/trace"
	"github.com/multicast-upgrade/tool/norm/udp"
	"github.com/multicast-upgrade/tool/norm/wire"
	"github.com/spf13/cobra"
)

func dumpCommand(w cli.World) *cobra.Command {
	d := dumper{world: w}
	c := &cobra.Command{
		Use:   "dump (--group G | CAPTURE) [flags]",
		Short: "Show NORM traffic, message by message",
		Long: `dump joins a group and shows what is sent to it, or reads a capture (pcap or pcapng, "-" is stdin), such as --trace of the
other commands, tcpdump or Wireshark write. Each message is one line: seconds since the first one, addresses, what it is,
and all its fields under their names in RFC 5740. The summary at the end is on stderr.

Of a capture, all that looks like NORM is shown; with --port, all that is sent from or to that port, malformed or not.
Live, it ends at --count, --timeout or Ctrl-C.`,
		Example: `  normrecv dump --group 239.1.2.3:6003 --interface eth0
  normrecv dump --type nack,ack,cmd capture.pcapng
  normrecv dump --json capture.pcapng | jq 'select(.message.type == "NORM_NACK")'
  tcpdump -w - udp port 6003 | normrecv dump -`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return cli.Usagef("unexpected argument %q; see normrecv dump --help", args[1])
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return d.run(c.Context(), args) },
	}
	fs := c.Flags()
	fs.StringVar(&d.group, "group", "", "multicast group (or this host's address) and port, to listen to")
	fs.StringVar(&d.ifi, "interface", "", "network `interface` by name or address; if empty, the routing table decides")
	fs.StringVar(&d.source, "source", "", "listen to this sender's `address` only (source-specific multicast)")
	fs.Uint16Var(&d.port, "port", 0, "of a capture, show what is sent from or to this port")
	fs.StringSliceVar(&d.types, "type", nil, "show these `types` only: cmd, "+strings.Join(trace.Kinds, ", "))
	fs.Uint64Var(&d.count, "count", 0, "end when so many messages are shown; 0 never")
	fs.DurationVar(&d.timeout, "timeout", 0, "end after listening so long; 0 never")
	fs.BoolVar(&d.hex, "hex", false, "show the bytes, too")
	fs.BoolVar(&d.json, "json", false, "print one JSON object per line, the last of them the summary")
	return c
}

// A dumper is one run of normrecv dump.
type dumper struct {
	world              cli.World
	group, ifi, source string
	port               uint16
	types              []string
	count              uint64
	timeout            time.Duration
	hex, json          bool

	out     *bufio.Writer
	line    []byte
	decoder trace.Decoder
	summary trace.Summary
	start   time.Time // of the first record
	shown   uint64
}

// errEnough ends a dump before its input does.
var errEnough = errors.New("enough is shown")

func (d *dumper) run(ctx context.Context, args []string) error {
	if err := d.check(args); err != nil {
		return cli.Usage(err)
	}
	d.out = bufio.NewWriterSize(d.world.Stdout, 64<<10)
	dump := func() error { return d.live(ctx) }
	if d.group == "" {
		dump = func() error { return d.capture(ctx, args[0]) }
	}
	err := dump()
	if err == nil || errors.Is(err, errEnough) {
		err = nil
	}
	if exit, ok := errors.AsType[*cli.Exit](err); ok && exit.Status == cli.BadUsage {
		return err
	}
	if d.json {
		d.out.Write(append(d.summary.AppendJSON(d.line[:0]), '\n'))
	}
	if e := d.out.Flush(); errors.Is(e, syscall.EPIPE) || errors.Is(err, syscall.EPIPE) {
		return nil // who read it has seen enough
	} else if err == nil {
		err = e
	}
	if !d.json {
		fmt.Fprint(d.world.Stderr, d.summary.String())
	}
	return err
}

// check finds what is wrong with the flags, and makes cmd of --type the types it stands for.
func (d *dumper) check(args []string) error {
	switch {
	case d.group == "" && len(args) == 0:
		return errors.New("name a capture, or a group by --group; see normrecv dump --help")
	case d.group != "" && len(args) > 0:
		return fmt.Errorf("a capture (%s) and --group: want one of them", args[0])
	case d.group != "" && d.port != 0:
		return errors.New("--port is for captures; the port of the group is heard anyway")
	case d.group == "" && (d.ifi != "" || d.source != "" || d.timeout != 0):
		return errors.New("--interface, --source and --timeout are for listening to a --group")
	case d.timeout < 0:
		return errors.New("--timeout cannot be negative")
	}
	if i := slices.Index(d.types, "cmd"); i >= 0 {
		d.types = append(slices.Delete(d.types, i, i+1), "flush", "eot", "squelch", "cc", "repair_adv", "ack_req", "application")
	}
	for _, t := range d.types {
		if !slices.Contains(trace.Kinds, t) {
			return fmt.Errorf("--type %q: want cmd, %s", t, strings.Join(trace.Kinds, ", "))
		}
	}
	return nil
}

// capture shows a file.
func (d *dumper) capture(ctx context.Context, path string) error {
	in := d.world.Stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return cli.Usage(err)
		}
		defer file.Close()
		in = file
	}
	name := func(err error) error { return fmt.Errorf("%s: %w", path, err) }
	r, err := trace.NewReader(in)
	if err != nil {
		return cli.Usage(name(err))
	}
	for n := uint64(1); ctx.Err() == nil; n++ {
		p, err := r.Next()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return name(err)
		}
		rec := trace.Record{Number: n, Time: p.Time, Direction: p.Direction, Comment: p.Comment, Event: p.Event}
		if p.Event == "" {
			if rec.Datagram, err = trace.ParseFrame(p.Link, p.Data); err != nil {
				d.summary.Skip(err.Error())
				continue
			}
			if reason := d.stranger(&rec.Datagram); reason != "" {
				d.summary.Skip(reason)
				continue
			}
		}
		if err := d.show(&rec); err != nil {
			return err
		}
	}
	return nil
}

// stranger says why a datagram of a capture is not looked at; empty: it is.
func (d *dumper) stranger(dg *trace.Datagram) string {
	if d.port != 0 {
		if dg.From.Port() != d.port && dg.To.Port() != d.port {
			return "other ports"
		}
		return ""
	}
	if _, err := wire.Peek(dg.B); err != nil {
		return "not NORM"
	}
	return ""
}

// live shows what arrives.
func (d *dumper) live(ctx context.Context) error {
	conn, err := d.listen()
	if err != nil {
		return cli.Usage(err)
	}
	defer conn.Close()
	if d.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.timeout)
		defer cancel()
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	msgs := make([]udp.Message, 256)
	for n := uint64(1); ; {
		count, err := conn.ReadBatch(msgs)
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return err
		}
		now := time.Now()
		for _, m := range msgs[:count] {
			rec := trace.Record{Number: n, Time: now, Datagram: trace.Datagram{From: m.From, To: m.To, ECN: m.ECN, Length: len(m.B), B: m.B}}
			if err := d.show(&rec); err != nil {
				return err
			}
			n++
		}
		if err := d.out.Flush(); err != nil {
			return err
		}
	}
}

func (d *dumper) listen() (*udp.Conn, error) {
	group, err := udp.ParseGroup(d.group)
	if err != nil {
		return nil, err
	}
	c := udp.Config{Group: group, Interface: d.ifi}
	if d.source != "" {
		if c.Source, err = netip.ParseAddr(d.source); err != nil {
			return nil, fmt.Errorf("--source %q is not an address", d.source)
		}
	}
	return udp.Open(c)
}

// show decodes a record, counts it and prints it.
func (d *dumper) show(r *trace.Record) error {
	if r.Event == "" {
		d.decoder.Decode(r)
	}
	d.summary.Add(r)
	if d.start.IsZero() {
		d.start = r.Time
	}
	if len(d.types) > 0 && !slices.Contains(d.types, r.Kind()) {
		return nil
	}
	if d.json {
		d.line = r.AppendJSON(d.line[:0], d.start, d.hex)
	} else {
		d.line = r.AppendText(d.line[:0], d.start)
	}
	d.line = append(d.line, '\n')
	if d.hex && !d.json && r.Event == "" {
		for line := range strings.Lines(hex.Dump(r.Datagram.B)) {
			d.line = append(append(d.line, "        "...), line...)
		}
	}
	if _, err := d.out.Write(d.line); err != nil {
		return err
	}
	if d.shown++; d.shown == d.count {
		return errEnough
	}
	return nil
}
