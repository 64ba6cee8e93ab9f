package main

import (
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/udp"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/spf13/cobra"
)

func upgradeCommand(w cli.World) *cobra.Command {
	u := upgrader{world: w}
	c := &cobra.Command{
		Use:   "upgrade --manifest fw.manifest --key server.key --group G (--expect N | --devices FILE) [flags] IMAGE…",
		Short: "Bring a signed release to many devices, and commit it",
		Long: `upgrade runs a whole campaign: it announces the release at the rendezvous, sends the images by multicast, collects
the votes of the devices, decides by the policy, and reports what became of it on each device.

All that matters is in the state directory. A campaign that was interrupted or has crashed is continued by

  normsend upgrade --state DIR --key server.key

With --sap it is also announced to the group of its scope (224.2.127.254, 239.195.255.255 for 239.0.0.0/8 but 239.255.255.255
for 239.255.0.0/16, FF0X::2:7FFE), port 9875, with --ttl; devices spread their questions over a millisecond for each of
--group-size, and sending begins after that.

and its settings stay as they were. From another terminal, normsend status shows it, commit approves it, abort ends
it, and hold and resume stop and release devices that have not begun to activate.

Sealed images (normsend sign --seal) need --seal, the file of their keys, and --seal-to: seal keys of the groups that may
open them, or devices for each of --devices that proves its key. Others refuse before anything is received.

Exit status: 0 committed on all devices, 1 aborted, 2 usage, 3 aborted by the deadline, 4 committed, but not on all.`,
		Example: `  normsend upgrade --manifest fw.manifest --key server.key --devices devices --group 239.1.2.3:6003 --interface eth0 fw.bin
  normsend upgrade --manifest fw.manifest --key server.key --expect 3 --commit auto --group 239.1.2.3:6003 \
    --interface lo --listen 127.0.0.1:8443 fw.bin                                # without device keys, on one host`,
		RunE: func(c *cobra.Command, images []string) error { return u.run(c, images) },
	}
	u.link.register(c)
	u.transport.register(c)
	fs := c.Flags()
	fs.StringVar(&u.manifest, "manifest", "", "signed release `file`")
	fs.StringVar(&u.key, "key", "", "server key `file`")
	fs.StringArrayVar(&u.roots, "root", nil, "root document `file` that agents are offered, see normsend root; give it again for each version")
	fs.StringVar(&u.state, "state", "", "`directory` of the campaign; default: ./upgrade-CAMPAIGN, a new one")
	fs.BoolVar(&u.config.Restored, "restored", false, "the state directory is an old copy: decide nothing in it, only adopt what devices were told")
	fs.StringVar(&u.devices, "devices", "", "`file` with a line for each device: id, site, public key")
	fs.IntVar(&u.config.Expect, "expect", 0, "in place of a list: the first N devices that show themselves, whose votes need no signature")
	fs.IntVar(&u.config.Quorum, "quorum", 100, "percentage of the devices that have to be READY")
	fs.IntVar(&u.config.SiteQuorum, "site-quorum", 0, "percentage of the devices of each site that have to be READY")
	fs.StringSliceVar(&u.config.Must, "must", nil, "`devices` that have to be READY in any case")
	fs.Var(&u.readyTimeout, "ready-timeout", "votes end so long after the start; then the campaign is aborted (default 1h)")
	fs.StringVar(&u.config.Commit, "commit", upgrade.CommitAsk, "ask a person before COMMIT, or auto")
	fs.IntVar(&u.config.MaxFailures, "max-failures", 0, "hold the others when so many devices have failed to activate; 0 never")
	fs.BoolVar(&u.config.AllowUnsigned, "allow-unsigned-votes", false, "let devices without a public key vote")
	fs.StringVar(&u.notBefore, "not-before", "", "no activation before this `time`, such as 2026-12-24T02:00:00Z")
	fs.Var(&u.window, "window", "no activation later than so long after that")
	fs.Var(&u.spread, "spread", "devices spread their activation over so long")
	fs.Var(&u.hold, "stage-hold", "an undecided device keeps its stage so long past the deadline (default 7d)")
	fs.StringVar(&u.source, "source", "", "our `address`, for source-specific multicast")
	fs.StringVar(&u.config.Listen, "listen", ":8443", "`address` and port of the rendezvous")
	fs.StringVar(&u.config.Auth, "auth", "", "authenticate packets by a group key of the campaign: on, off; default: on if all of --devices have keys")
	fs.StringVar(&u.config.Advertise, "advertise", "", "`URL` of the rendezvous as devices know it; default: made from --listen and --interface")
	fs.BoolVar(&u.config.SegmentHashes, "segment-hashes", false, "send hashes of all segments ahead, by which devices drop forged ones at once; older agents refuse that")
	fs.BoolVar(&u.config.SAP, "sap", false, "announce the campaign by SAP (RFC 2974) while it runs, for agents with --discover sap")
	u.seal.register(c)
	fs.StringVar(&u.tlsCert, "tls-cert", "", "TLS certificate `file` of the rendezvous; default: one certified by the server key")
	fs.StringVar(&u.tlsKey, "tls-key", "", "its key `file`")
	fs.DurationVar(&u.config.Linger, "linger", 10*time.Second, "stay so long for devices that are late when all others are done")
	fs.DurationVar(&u.config.OutcomeTimeout, "outcome-timeout", 15*time.Minute, "wait so long for what becomes of a COMMIT")
	fs.BoolVar(&u.json, "json", false, "print one JSON event per line to stdout")
	u.trace.Register(c)
	c.MarkFlagRequired("key")
	return c
}

// An upgrader is one run of normsend upgrade.
type upgrader struct {
	world     cli.World
	link      linkFlags
	transport transportFlags
	config    upgrade.CampaignConfig

	manifest, key, state, devices, source, notBefore string
	tlsCert, tlsKey                                  string
	roots                                            []string
	readyTimeout, window, spread, hold               cli.Duration
	seal                                             sealFlags
	json                                             bool
	trace                                            cli.Trace
}

func (u *upgrader) run(c *cobra.Command, images []string) error {
	if err := u.resolve(c, images); err != nil {
		return cli.Usage(err)
	}
	v := newCampaignView(u.world, u.json)
	u.config.Event, u.config.Log = v.event, cli.NewLog(v.progress, slog.LevelWarn)
	tracer, stop, err := u.trace.Start(v.progress)
	if err != nil {
		return cli.Usage(err)
	}
	defer stop()
	u.config.Trace = tracer
	campaign, err := upgrade.OpenCampaign(u.config)
	if err != nil {
		return cli.Usage(asFlags(err))
	}
	defer campaign.Close()
	v.begin(c.Context(), campaign)
	result, err := campaign.Run(c.Context())
	v.end()
	if err != nil {
		if c.Context().Err() != nil {
			err = fmt.Errorf("interrupted, and nothing is decided by that; continue with: normsend upgrade --state %s --key %s", campaign.Dir(), u.key)
		}
		return err
	}
	return v.result(result)
}

// resolve fills the config. What was not given stays zero: a new campaign has its defaults, and one that is continued
// its own settings.
func (u *upgrader) resolve(c *cobra.Command, images []string) (err error) {
	given := c.Flags().Changed
	cfg := &u.config
	if cfg.Key, err = manifest.LoadPrivateKey(u.key, manifest.RoleServer); err != nil {
		return err
	}
	if cfg.Roots, err = cli.ReadRoots(u.roots); err != nil {
		return err
	}
	cfg.State, cfg.Images = u.state, images
	if u.manifest != "" {
		if cfg.Manifest, err = readManifest(u.manifest); err != nil {
			return err
		}
	}
	if u.devices != "" {
		if cfg.Targets, err = readTargets(u.devices); err != nil {
			return err
		}
	}
	for name, value := range map[string]*int{"quorum": &cfg.Quorum, "site-quorum": &cfg.SiteQuorum} {
		if given(name) && (*value < 1 || *value > 100) {
			return fmt.Errorf("--%s %d: want a percentage, 1 to 100", name, *value)
		}
	}
	if !given("quorum") {
		cfg.Quorum = 0
	}
	if !given("commit") {
		cfg.Commit = ""
	}
	if !given("listen") {
		cfg.Listen = ""
	}
	cfg.ReadyTimeout, cfg.Window = time.Duration(u.readyTimeout), time.Duration(u.window)
	cfg.Spread, cfg.Hold = time.Duration(u.spread), time.Duration(u.hold)
	if u.notBefore != "" {
		if cfg.NotBefore, err = time.Parse(time.RFC3339, u.notBefore); err != nil {
			return fmt.Errorf("--not-before %q: want a time such as 2026-12-24T02:00:00Z", u.notBefore)
		}
	}
	if err = u.seal.resolve(cfg); err != nil {
		return err
	}
	if cfg.Linger == 0 {
		cfg.Linger = -1 // upgrade's word for none
	}
	if cfg.TLS, err = cli.ServerTLS(u.tlsCert, u.tlsKey); err != nil {
		return err
	}
	return u.resolveLink(given)
}

// resolveLink fills in how the campaign sends.
func (u *upgrader) resolveLink(given func(string) bool) (err error) {
	cfg, t := &u.config, &u.transport
	if u.link.group != "" {
		if cfg.Group, err = udp.ParseGroup(u.link.group); err != nil {
			return err
		}
	}
	if cfg.RepairGroup, err = cli.RepairGroup(u.link.repairs, cfg.Group); err != nil {
		return err
	}
	if u.source != "" {
		if cfg.Source, err = netip.ParseAddr(u.source); err != nil {
			return fmt.Errorf("--source %q is not an address", u.source)
		}
	}
	cfg.Interface = u.link.ifi
	if given("ttl") {
		if cfg.TTL, err = u.link.hops(); err != nil {
			return err
		}
	}
	if given("rate") {
		if cfg.AutoRate = t.rate.auto; !t.rate.auto {
			cfg.Rate = float64(t.rate.fixed)
		}
	}
	cfg.StartRate, cfg.MinRate, cfg.MaxRate = float64(t.startRate), float64(t.minRate), float64(t.maxRate)
	cfg.ECN = t.ecn
	if given("segment-size") {
		cfg.SegmentSize = t.segmentSize
	}
	if given("fec") {
		if cfg.FEC, err = fec.ParseSpec(t.fec); err != nil {
			return err
		}
	}
	if given("grtt") {
		cfg.GRTT = t.grtt
	}
	cfg.BackoffFactor = t.backoffFactor()
	if given("group-size") {
		cfg.GroupSize = t.groupSize
	}
	cfg.Burst, cfg.AutoParity = int(t.burst), int(t.autoParity)
	return nil
}
