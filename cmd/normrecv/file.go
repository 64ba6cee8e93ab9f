package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"time"

	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/udp"
	"github.com/spf13/cobra"
)

// silence is after how long without a datagram a person is told.
const silence = 10 * time.Second

// silentDelay is how long a file that --silent cannot ask for is waited for when the sender has gone on, or fell silent.
const silentDelay = 30 * time.Second

func fileCommand(w cli.World) *cobra.Command {
	f := fileReceiver{world: w, maxRate: 1e9}
	c := &cobra.Command{
		Use:   "file --group G [flags]",
		Short: "Receive files",
		Long: `file receives the files that normsend, or another NORM sender, sends to a group. Each gets its name when it
is complete and on disk, never before. Without --count it ends when all senders it heard have said goodbye; with it, at
once, unless --linger lets it stay for a sender that wants its files acknowledged (normsend file --ack).`,
		Example: `  normrecv file --group 239.1.2.3:6003 --interface eth0 --out incoming --count 1`,
		Args:    cli.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return f.run(c.Context()) },
	}
	fs := c.Flags()
	fs.StringVar(&f.group, "group", "", "multicast group (or this host's address) and port, such as 239.1.2.3:6003 or [ff15::1]:6003")
	fs.StringVar(&f.repairs, "repair-group", "", "the sender's --repair-group, which is listened to while something is missing")
	fs.StringVar(&f.ifi, "interface", "", "network `interface` by name or address; if empty, the routing table decides")
	fs.StringVar(&f.source, "source", "", "listen to this sender's `address` only (source-specific multicast)")
	fs.StringVar(&f.out, "out", ".", "`directory` to write to")
	fs.IntVar(&f.count, "count", 0, "end when so many files are complete")
	fs.DurationVar(&f.linger, "linger", 0, "stay this long behind the last of --count files, or until the senders say goodbye, to acknowledge")
	fs.DurationVar(&f.timeout, "timeout", 0, "give up after this long; 0 never")
	fs.Uint32Var(&f.nodeID, "node-id", 0, "our NORM node id; 0 takes one at random")
	fs.BoolVar(&f.unicast, "unicast-feedback", false, "send requests to the sender itself, not to the group; what source-specific groups and hosts get anyhow")
	fs.BoolVar(&f.silent, "silent", false, "send nothing, as where there is no way back: what the sender's --parity-auto cannot mend is given up")
	fs.Var(&f.maxRate, "max-rate", "be ready for this rate: the kernel's queue is to hold what arrives in 50 ms")
	fs.Var(&f.minRate, "min-rate", "leave when the sender's congestion control finds for 30 s that our path bears less, as it would hold up the others")
	fs.StringVar(&f.join, "join", "all", "what to ask for of what was sent before: all, the current object and later ones (object), or only what comes (current)")
	fs.StringVar(&f.dialect, "dialect", "auto", "whose reading of the code: auto, rfc, nrl, or mdp for old senders by NRL")
	fs.StringVar(&f.authKey, "auth-key", "", "accept only packets authenticated by the group key in this `file`")
	fs.BoolVar(&f.json, "json", false, "print one JSON event per line to stdout")
	f.trace.Register(c)
	c.MarkFlagRequired("group")
	return c
}

// A fileReceiver is one run of normrecv file.
type fileReceiver struct {
	world                            cli.World
	group, repairs, ifi, source, out string
	join, dialect, authKey           string
	count                            int
	timeout, linger                  time.Duration
	nodeID                           uint32
	json, unicast, silent            bool
	maxRate, minRate                 cli.BitRate
	trace                            cli.Trace

	events   *cli.Events
	progress *cli.Progress
	inbox    *session.Inbox
	tally    tally
}

func (f *fileReceiver) run(ctx context.Context) error {
	f.events, f.progress = cli.NewEvents(f.world.Stdout, f.json), cli.NewProgress(f.world.Stderr)
	f.tally = newTally()
	config, err := f.config()
	if err != nil {
		return cli.Usage(err)
	}
	dir, err := f.openOut()
	if err != nil {
		return cli.Usage(err)
	}
	defer dir.Close()
	defer f.inbox.Close()
	conn, err := udp.Open(udp.Config{
		Group: config.Group, RepairGroup: config.RepairGroup, Interface: f.ifi, Source: config.SenderAddr,
		ReadBuffer: udp.ReadBufferFor(float64(f.maxRate)),
	})
	if err != nil {
		return cli.Usage(err)
	}
	tracer, stop, err := f.trace.Start(f.progress)
	if err != nil {
		conn.Close()
		return cli.Usage(err)
	}
	defer stop()
	s, err := session.Open(session.Config{Conn: conn, Receive: &config, Offer: f.inbox.Offer, Trace: tracer})
	if err != nil {
		conn.Close()
		return cli.Usage(err)
	}
	defer s.Close()
	defer s.Leave(context.WithoutCancel(ctx))
	defer f.progress.Clear()
	on := "the default interface"
	if ifi := conn.Interface(); ifi != nil {
		on = ifi.Name
	}
	f.progress.Line("listening to %v on %s, TTL %d, writing to %s", config.Group, on, conn.TTL(), f.out)
	if queue := conn.Stats().ReadBuffer; queue.Granted < queue.Asked {
		f.progress.Line("%s", f.shortQueue(queue))
	}
	f.events.Emit("listening", cli.Fields{"group": config.Group.String(), "interface": on, "node": config.Node})
	if f.timeout > 0 {
		var cancel context.CancelFunc
		late := &cli.Exit{Status: cli.TimedOut, Err: fmt.Errorf("not complete after %v", f.timeout)}
		ctx, cancel = context.WithTimeoutCause(ctx, f.timeout, late)
		defer cancel()
	}
	return f.receive(ctx, s, fmt.Sprintf("no datagram heard in %v on %s from %v: %s", silence, on, config.Group, f.advice(config.Group)))
}

// shortQueue says what the kernel refused, and what to do.
func (f *fileReceiver) shortQueue(queue udp.Buffer) string {
	remedy := "raise the system's limit"
	if runtime.GOOS == "linux" {
		remedy = fmt.Sprintf("sysctl -w net.core.rmem_max=%d", queue.Asked)
	}
	return fmt.Sprintf("the kernel queues %s, and --max-rate %v needs %s: bursts may be lost on this host; %s",
		cli.HumanBytes(int64(queue.Granted)), &f.maxRate, cli.HumanBytes(int64(queue.Asked)), remedy)
}

// advice says what to do when nothing is heard: doctor looks where we listen.
func (f *fileReceiver) advice(group netip.AddrPort) string {
	if !group.Addr().IsMulticast() {
		return "is a sender running, and does a firewall let it in?"
	}
	flags := " --group " + f.group
	if f.ifi != "" {
		flags += " --interface " + f.ifi
	}
	if f.source != "" {
		flags += " --source " + f.source
	}
	return "normrecv doctor" + flags + " finds out why"
}

func (f *fileReceiver) config() (c norm.ReceiverConfig, err error) {
	c = norm.ReceiverConfig{Node: norm.NodeID(f.nodeID), Silent: f.silent, MinRate: float64(f.minRate)}
	if f.unicast {
		c.Feedback = norm.FeedbackUnicast
	}
	if f.silent {
		c.MaxDelay = silentDelay
	}
	if c.Node == 0 {
		c.Node = norm.NodeID(1 + rand.Uint32N(0xfffffffe))
	}
	if c.Group, err = udp.ParseGroup(f.group); err != nil {
		return c, err
	}
	if c.RepairGroup, err = cli.RepairGroup(f.repairs, c.Group); err != nil {
		return c, err
	}
	if f.silent && f.unicast {
		return c, errors.New("--silent sends nothing, --unicast-feedback does: want one of them")
	}
	if f.source == "" && udp.IsSourceSpecific(c.Group.Addr()) {
		return c, fmt.Errorf("group %v is source-specific (RFC 4607): give the sender's address by --source", c.Group)
	}
	if c.Node == math.MaxUint32 {
		return c, fmt.Errorf("--node-id %d: it stands for any node; want 1 to %d", c.Node, uint32(math.MaxUint32-1))
	}
	if f.source != "" {
		if c.SenderAddr, err = netip.ParseAddr(f.source); err != nil {
			return c, fmt.Errorf("--source %q is not an address", f.source)
		}
	}
	joins := map[string]norm.JoinPolicy{"all": norm.JoinAll, "object": norm.JoinObject, "current": norm.JoinCurrent}
	dialects := map[string]norm.DialectPolicy{"auto": norm.DialectAuto, "rfc": norm.DialectRFC, "nrl": norm.DialectNRL, "mdp": norm.DialectMDP}
	var ok bool
	if c.Join, ok = joins[f.join]; !ok {
		return c, fmt.Errorf("--join %q: want all, object or current", f.join)
	}
	if c.Dialect, ok = dialects[f.dialect]; !ok {
		return c, fmt.Errorf("--dialect %q: want auto, rfc, nrl or mdp", f.dialect)
	}
	if c.Auth, err = cli.GroupAuth(f.authKey); err != nil {
		return c, err
	}
	if f.count < 0 || f.timeout < 0 || f.linger < 0 {
		return c, errors.New("--count, --timeout and --linger cannot be negative")
	}
	return c, nil
}

// openOut opens the directory to write to and proves that it can be written.
func (f *fileReceiver) openOut() (*disk.Dir, error) {
	if err := os.MkdirAll(f.out, 0o755); err != nil {
		return nil, err
	}
	dir, err := disk.Open(f.out)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(f.out)
	if err != nil {
		return nil, err
	}
	f.inbox = session.NewInbox(root)
	if err := f.inbox.Writable(); err != nil {
		return nil, fmt.Errorf("directory %s cannot be written: %w", f.out, err)
	}
	f.inbox.Free = dir.Free
	return dir, nil
}
