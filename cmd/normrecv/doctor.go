package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/norm/doctor"
	"github.com/multicast-upgrade/tool/norm/udp"
	"github.com/spf13/cobra"
)

// longRun is --long without a value: longer than a switch remembers a member that no querier asks for, 260 s by default
// (RFC 9776, Section 8.4).
const longRun = 5*time.Minute + 20*time.Second

func doctorCommand(w cli.World) *cobra.Command {
	d := doctorRun{world: w, rate: doctor.DefaultRate, segment: 1400}
	c := &cobra.Command{
		Use:   "doctor --group G [flags]",
		Short: "Find out why multicast does or does not work from here",
		Long: `doctor examines this host and, together with normsend doctor at the sender, the network in between. Each check has a
verdict: ok, warning (works, and may not later or elsewhere), fault, or unknown; and a remedy where one is needed. As root on
Linux it sees more: what the firewall drops, and queries for members.

Without normsend doctor it checks this host, and whether NORM is heard. docs/network.md explains each check.

Exit status: 0 no fault, 1 a fault, 2 usage, 3 nothing was heard of a sender in time, and no fault was found on this host.`,
		Example: `  normsend doctor --group 239.1.2.3:6003 --interface eth0      # at the sender, with its --ttl
  normrecv doctor --group 239.1.2.3:6003 --interface eth0
  normrecv doctor --group 239.1.2.3:6003 --interface eth0 --rate 50M --long`,
		Args: cli.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return d.run(c.Context()) },
	}
	fs := c.Flags()
	fs.StringVar(&d.group, "group", "", "multicast group and port, such as 239.1.2.3:6003 or [ff15::1]:6003")
	fs.StringVar(&d.config.Interface, "interface", "", "network `interface` by name or address; if empty, the routing table decides")
	fs.StringVar(&d.source, "source", "", "listen to this sender's `address` only (source-specific multicast)")
	fs.StringVar(&d.sender, "sender", "", "ask at this `address`, too, should the group not carry the question; default: --source")
	fs.IntVar(&d.config.TTL, "ttl", 1, "time to live of feedback to the group; other commands of normrecv send it with 1")
	fs.Var(&d.segment, "segment-size", "what the sender shall use")
	fs.Var(&d.rate, "rate", "what the sender shall use: loss is measured up to this rate")
	fs.DurationVar(&d.config.Patience, "timeout", 10*time.Second, "look this long for the sender")
	fs.DurationVar(&d.config.Long, "long", 0, "watch for this long whether reception goes on; without a value "+longRun.String())
	fs.Lookup("long").NoOptDefVal = longRun.String()
	fs.BoolVar(&d.json, "json", false, "print one JSON event per line to stdout")
	c.MarkFlagRequired("group")
	return c
}

// A doctorRun is one run of normrecv doctor.
type doctorRun struct {
	world                 cli.World
	config                doctor.Config
	group, source, sender string
	segment               cli.Size
	rate                  cli.BitRate
	json                  bool
}

func (d *doctorRun) run(ctx context.Context) error {
	if err := d.resolve(); err != nil {
		return cli.Usage(err)
	}
	progress := cli.NewProgress(d.world.Stderr)
	d.config.Progress = func(doing string) { progress.Line("%s", doing) }
	report, err := doctor.Examine(ctx, d.config)
	progress.Clear()
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case err != nil:
		return cli.Usage(err)
	}
	events := cli.NewEvents(d.world.Stdout, d.json)
	for _, f := range report.Findings {
		events.Emit("check", cli.Fields{"check": f.Check, "verdict": f.Verdict, "seen": f.Seen, "remedy": f.Remedy})
		if d.json {
			continue
		}
		cli.Finding(d.world.Stdout, string(f.Verdict), f.Check, f.Seen, f.Remedy)
	}
	faults := report.Faults()
	events.Emit("diagnosis", cli.Fields{"faults": faults, "heard": report.Heard})
	switch {
	case faults == 1:
		return errors.New("there is a fault")
	case faults > 1:
		return fmt.Errorf("there are %d faults", faults)
	case !report.Heard:
		return &cli.Exit{Status: cli.TimedOut, Err: fmt.Errorf("no sender was heard in %v: run normsend doctor --group %s there", d.config.Patience, d.group)}
	}
	return nil
}

// resolve fills the config from the flags.
func (d *doctorRun) resolve() (err error) {
	c := &d.config
	if c.Group, err = udp.ParseGroup(d.group); err != nil {
		return err
	}
	if c.Patience <= 0 || c.Long < 0 {
		return errors.New("--timeout and --long: want more than nothing")
	}
	for name, flag := range map[string]struct {
		text string
		addr *netip.Addr
	}{"source": {d.source, &c.Source}, "sender": {d.sender, &c.Sender}} {
		if flag.text == "" {
			continue
		}
		if *flag.addr, err = netip.ParseAddr(flag.text); err != nil {
			return fmt.Errorf("--%s %q is not an address", name, flag.text)
		}
	}
	c.SegmentSize, c.Rate = int(d.segment), float64(d.rate)
	return nil
}
