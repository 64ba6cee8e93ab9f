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

func doctorCommand(w cli.World) *cobra.Command {
	d := doctorRun{world: w, rate: doctor.DefaultRate}
	c := &cobra.Command{
		Use:   "doctor --group G [flags]",
		Short: "Answer receivers that find out why multicast does or does not work",
		Long: `doctor is the sender's side of normrecv doctor. It sends two small datagrams a second to the group and answers those
who ask; to those who are in the group it sends probes, also with a TTL up to 32. All of it together stays below --rate. It
runs until it is interrupted, or for --timeout.`,
		Example: `  normsend doctor --group 239.1.2.3:6003 --interface eth0 --ttl 4`,
		Args:    cli.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return d.run(c.Context()) },
	}
	fs := c.Flags()
	fs.StringVar(&d.group, "group", "", "multicast group and port, such as 239.1.2.3:6003 or [ff15::1]:6003")
	fs.StringVar(&d.config.Interface, "interface", "", "network `interface` by name or address; if empty, the routing table decides")
	fs.StringVar(&d.source, "source", "", "send from this `address` and do not listen to the group (source-specific multicast)")
	fs.IntVar(&d.config.TTL, "ttl", 1, "time to live of what is sent to the group, as the sender under examination has it")
	fs.Var(&d.rate, "rate", "bound on all that is sent")
	fs.DurationVar(&d.timeout, "timeout", 0, "end after this long; 0 never")
	fs.BoolVar(&d.json, "json", false, "print one JSON event per line to stdout")
	c.MarkFlagRequired("group")
	return c
}

// A doctorRun is one run of normsend doctor.
type doctorRun struct {
	world         cli.World
	config        doctor.ResponderConfig
	group, source string
	rate          cli.BitRate
	timeout       time.Duration
	json          bool
}

func (d *doctorRun) run(ctx context.Context) (err error) {
	c := &d.config
	if c.Group, err = udp.ParseGroup(d.group); err != nil {
		return cli.Usage(err)
	}
	if d.source != "" {
		if c.Source, err = netip.ParseAddr(d.source); err != nil {
			return cli.Usagef("--source %q is not an address", d.source)
		}
	}
	if d.timeout < 0 {
		return cli.Usage(errors.New("--timeout cannot be negative"))
	}
	c.Rate = float64(d.rate)
	r, err := doctor.OpenResponder(*c)
	if err != nil {
		return cli.Usage(err)
	}
	defer r.Close()
	if d.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.timeout)
		defer cancel()
	}
	events := cli.NewEvents(d.world.Stdout, d.json)
	events.Emit("answering", cli.Fields{"group": c.Group.String(), "interface": r.Interface().Name, "ttl": r.TTL()})
	fmt.Fprintf(d.world.Stderr, "answering at %v on %s, TTL %d, at most %sbit/s\n", c.Group, r.Interface().Name, r.TTL(), d.rate.String())
	r.Run(ctx)
	events.Emit("answered", cli.Fields{"questions": r.Answers()})
	fmt.Fprintf(d.world.Stderr, "%d questions answered\n", r.Answers())
	return nil
}
