package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/udp"
	"github.com/multicast-upgrade/tool/seal"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/spf13/cobra"
)

func agentCommand(w cli.World) *cobra.Command {
	a := agent{world: w}
	c := &cobra.Command{
		Use:   "agent --server URL --trust release.pub --trust-server server.pub --product P --hardware HW --device-id ID --dir DIR",
		Short: "Keep this device up to date",
		Long: `agent follows the campaigns of one server: it receives the images of releases that the trusted keys have signed for
this product and hardware, proves them, votes, and activates them when the server has decided so.

Hooks are commands, run without a shell and with the environment that describes the image: UPGRADE_IMAGE, its path,
UPGRADE_VERSION and more. The verify hook says whether the image may be installed, activate makes it run, and may
restart the system, health says whether it works, rollback makes the old one run again. Without an activate hook the
images are renamed into DIR/current.

Whom it trusts is in a root document (--root) and those that follow it, which the server has and which enough release keys
have signed: so keys are replaced and revoked, see normsend root. Or it is given two kinds of keys (--trust, --trust-server).

With --discover sap it hears announcements (RFC 2974) on --interface, and asks the server when there is one of a campaign
by the trusted server key; unasked it does so every quarter of an hour or so, and waits at the server only while a
campaign is under way. An announcement makes it ask, and nothing else.

With --slots the image goes to the one of two slots that does not run, while it is received. --window has the device
activate at some hours only. With --serve it is the gateway of its site: other agents ask it for missing leaves (--tail),
phones and boot loaders fetch the images in DIR/current from it.

Images that are sealed, which is to say encrypted, are opened by the key of a group (--seal-key), or by one that the server
gives to this device when it proves its own. A device without refuses them, before anything is received (no-key).

Without --once it runs until it is ended by a signal. With --once the exit status is 0 if the release was committed
here, and 1 if not.`,
		Example: `  normrecv agent --server https://updates.example.net:8443 --trust release.pub --trust-server server.pub \
    --product router --hardware ar9331 --device-id router-17 --key device.key --dir /var/lib/upgrade --interface eth0 \
    --activate-cmd "/usr/sbin/flash --slot other" --health-cmd /usr/sbin/selftest --rollback-cmd "/usr/sbin/flash --revert"`,
		Args: cli.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.run(c.Context()) },
	}
	fs := c.Flags()
	fs.StringVar(&a.config.Server, "server", "", "`URL` of the rendezvous; plain http for this host only")
	fs.StringVar(&a.root, "root", "", "root document `file` that names the keys to trust, in place of the --trust flags; newer ones are followed")
	fs.StringArrayVar(&a.trust, "trust", nil, "public release key `file`; give it again for each")
	fs.IntVar(&a.threshold, "trust-threshold", 0, "how many of them have to have signed; default: all")
	fs.StringVar(&a.trustServer, "trust-server", "", "public server key `file`: it announces and decides when, never what")
	fs.StringVar(&a.config.Product, "product", "", "product this device is")
	fs.StringVar(&a.config.Hardware, "hardware", "", "its hardware")
	fs.StringVar(&a.config.Device, "device-id", "", "its name")
	fs.StringVar(&a.config.Dir, "dir", "", "`directory` for everything that is kept")
	fs.StringArrayVar(&a.config.Seeds, "seed", nil, "`path` of an older image, or of a directory with some, parts of which need not be sent again; give it again for more")
	fs.StringVar(&a.config.Interface, "interface", "", "network `interface` by name or address; if empty, the routing table decides")
	fs.StringVar(&a.discover, "discover", discoverServer, "how to hear of campaigns: server waits at the server, sap for announcements as well")
	fs.IntVar(&a.config.GroupSize, "group-size", discovery.DefaultGroupSize, "with --discover sap, how many devices there are, about: they ask in turn, 1000 a second")
	fs.BoolVar(&a.config.UnicastFeedback, "unicast-feedback", false, "send requests to the sender itself, not to the group: for devices behind a router")
	fs.StringVar(&a.key, "key", "", "device key `file`; default: one that the agent makes in DIR when it first starts")
	fs.BoolVar(&a.config.MakeKey, "make-key", true, "without --key, make a device key in DIR, which counts once its fingerprint is approved at the server; --make-key=false leaves votes unsigned, which a campaign has to allow")
	fs.StringVar(&a.tokenFile, "enrol-token-file", "", "`file` with a one-time token by which the server takes the device key at once")
	fs.StringArrayVar(&a.sealKeys, "seal-key", nil, "private seal key `file` of a group that this device belongs to, for sealed images; give it again for each")
	fs.StringVar(&a.hooks.Verify, "verify-cmd", "", "`command` that says whether an image may be installed")
	fs.StringVar(&a.hooks.Activate, "activate-cmd", "", "`command` that makes an image run")
	fs.StringVar(&a.hooks.Health, "health-cmd", "", "`command` that says whether it works")
	fs.StringVar(&a.hooks.Rollback, "rollback-cmd", "", "`command` that makes the old one run again")
	fs.DurationVar(&a.hooks.Timeout, "hook-timeout", upgrade.DefaultHookTimeout, "end a command, and what it started, after this long")
	fs.StringVar(&a.config.Tail, "tail", "", "`URL` of a gateway of this site, such as http://10.0.0.2:8080, that is asked for missing leaves before the server is")
	fs.StringVar(&a.gateway.http, "serve", "", "be the gateway: serve committed images and verified leaves by HTTP on this `address`:port")
	fs.StringVar(&a.gateway.tftp, "serve-tftp", "", "serve committed images by TFTP on this `address`:port, such as 10.0.0.2:69")
	fs.BoolVar(&a.gateway.unsealed, "serve-unsealed", false, "with --serve or --serve-tftp: give images that came sealed to whoever fetches a file; without it they are not given")
	fs.StringVar(&a.slots, "slots", "", "write the image to the one of two `slots` that does not run, such as A=/dev/mmcblk0p2,B=/dev/mmcblk0p3; needs --slot-current-cmd and --activate-cmd")
	fs.StringVar(&a.slotCurrent, "slot-current-cmd", "", "`command` that prints the name of the slot that runs")
	fs.StringVar(&a.slotImage, "slot-image", "", "`name` of the image that goes to a slot, of a release that has several")
	fs.StringArrayVar(&a.windows, "window", nil, "activate only within these `hours`, such as 02:00-04:00 or \"Mon-Fri 22:00-04:00\"; give it again for more")
	fs.StringVar(&a.zone, "window-zone", "Local", "time `zone` of --window, such as Europe/Vienna; UTC; Local is the system's")
	fs.StringVar(&a.tlsCA, "tls-ca", "", "trust the certificates of this `file` for the rendezvous, in place of the server key's")
	fs.StringVar(&a.tlsCert, "tls-cert", "", "client certificate `file` with the device's name, for a server with --client-ca")
	fs.StringVar(&a.tlsKey, "tls-key", "", "its key `file`")
	fs.BoolVar(&a.config.Once, "once", false, "end after one campaign")
	fs.BoolVar(&a.json, "json", false, "print one JSON event per line to stdout")
	a.recording.Register(c)
	for _, name := range []string{"server", "product", "hardware", "device-id", "dir"} {
		c.MarkFlagRequired(name)
	}
	return c
}

// What --discover can be.
const (
	discoverServer = "server"
	discoverSAP    = "sap"
)

// An agent is one run of normrecv agent.
type agent struct {
	world  cli.World
	config upgrade.AgentConfig
	hooks  upgrade.CommandHooks

	root                    string
	trust                   []string
	threshold               int
	trustServer, key, tlsCA string
	tlsCert, tlsKey         string
	tokenFile               string
	sealKeys                []string
	windows                 []string
	zone                    string
	slots, slotCurrent      string
	slotImage               string
	discover                string
	json                    bool
	gateway                 gateway
	service                 cli.Service
	recording               cli.Trace
	events                  *cli.Events
	progress                *cli.Progress
}

func (a *agent) run(ctx context.Context) error {
	a.events, a.progress = cli.NewEvents(a.world.Stdout, a.json), cli.NewProgress(a.world.Stderr)
	if err := a.resolve(); err != nil {
		return cli.Usage(err)
	}
	tracer, stop, err := a.recording.Start(a.progress)
	if err != nil {
		return cli.Usage(err)
	}
	defer stop()
	a.config.Trace = tracer
	a.service = cli.NewService(a.world)
	if err := a.gateway.listen(); err != nil {
		a.gateway.close()
		return cli.Usage(err)
	}
	defer a.gateway.close()
	device, err := upgrade.NewAgent(a.config)
	switch {
	case errors.Is(err, disk.ErrLocked):
		return cli.Usagef("--dir %s: another agent runs in this directory", a.config.Dir)
	case err != nil:
		return cli.Usage(err)
	}
	on := a.config.Interface
	if on == "" {
		on = "the default interface"
	}
	a.progress.Line("device %s (%s, %s) follows %s; multicast on %s, images in %s", a.config.Device, a.config.Product, a.config.Hardware,
		a.config.Server, on, a.config.Dir)
	if a.config.Key == nil && device.Fingerprint() != "" {
		a.progress.Line("the key of this device has the fingerprint %s", device.Fingerprint())
	}
	err = a.follow(ctx, device)
	a.progress.Clear()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) && !a.config.Once {
		return nil // that is how a service ends
	}
	return err
}

// follow runs the agent, and beside it what serves others and the service manager.
func (a *agent) follow(ctx context.Context, device *upgrade.Agent) error {
	beside, cancel := context.WithCancel(ctx)
	wait := a.serve(beside, device)
	defer wait()
	defer cancel()
	a.service.Notify("READY=1")
	defer a.service.Notify("STOPPING=1")
	return device.Run(ctx)
}

// resolve fills the config from the flags.
func (a *agent) resolve() (err error) {
	cfg := &a.config
	if cfg.SAP = a.discover == discoverSAP; !cfg.SAP && a.discover != discoverServer {
		return fmt.Errorf("--discover %q: want %s or %s", a.discover, discoverServer, discoverSAP)
	}
	if cfg.GroupSize < 1 {
		return fmt.Errorf("--group-size %d: want 1 or more", cfg.GroupSize)
	}
	if err := a.resolveWindows(); err != nil {
		return err
	}
	if err := a.resolveSlots(); err != nil {
		return err
	}
	if err := a.resolveSeal(); err != nil {
		return err
	}
	if err := a.resolveTrust(); err != nil {
		return err
	}
	if a.key != "" {
		if cfg.Key, err = manifest.LoadPrivateKey(a.key, manifest.RoleDevice); err != nil {
			return err
		}
	}
	if a.tokenFile != "" {
		if cfg.EnrolToken, err = readToken(a.tokenFile); err != nil {
			return err
		}
	}
	if a.hooks.Timeout <= 0 {
		return fmt.Errorf("--hook-timeout %v: want more than nothing", a.hooks.Timeout)
	}
	if err := a.hooks.Check(); err != nil {
		return err
	}
	for _, path := range cfg.Seeds {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("--seed: %w", err)
		}
	}
	if cfg.Interface != "" {
		if _, _, err := udp.InterfaceFor(cfg.Interface); err != nil { // found out now, not when a campaign begins
			return err
		}
	}
	if cfg.Certificates, err = cli.KeyPair(a.tlsCert, a.tlsKey); err != nil {
		return err
	}
	if a.tlsCA != "" {
		if cfg.Transport, err = transport(a.tlsCA, cfg.Certificates); err != nil {
			return err
		}
	}
	cfg.Log = cli.NewLog(a.progress, slog.LevelWarn)
	a.hooks.Log = cfg.Log
	cfg.Hooks, cfg.Event = &a.hooks, a.event
	return nil
}

// resolveTrust reads whom to trust.
func (a *agent) resolveTrust() (err error) {
	cfg := &a.config
	switch flags := len(a.trust) > 0 || a.trustServer != "" || a.threshold != 0; {
	case a.root != "" && flags:
		return errors.New("--root names the keys to trust: leave --trust, --trust-threshold and --trust-server out")
	case a.root == "" && (len(a.trust) == 0 || a.trustServer == ""):
		return errors.New("--root, or else --trust and --trust-server, are required")
	}
	if a.root != "" {
		cfg.Root, err = cli.ReadRoot(a.root)
		return err
	}
	if cfg.Trust.Keys, err = cli.LoadPublicKeys(a.trust, manifest.RoleRelease); err != nil {
		return err
	}
	switch cfg.Trust.Threshold = a.threshold; {
	case a.threshold == 0:
		cfg.Trust.Threshold = len(cfg.Trust.Keys)
	case a.threshold < 0 || a.threshold > len(cfg.Trust.Keys):
		return fmt.Errorf("--trust-threshold %d: want 1 to %d, the number of --trust keys", a.threshold, len(cfg.Trust.Keys))
	}
	cfg.TrustServer, err = manifest.LoadPublicKey(a.trustServer, manifest.RoleServer)
	return err
}

// resolveWindows reads the maintenance windows.
func (a *agent) resolveWindows() (err error) {
	windows := &a.config.Windows
	if windows.Zone, err = time.LoadLocation(a.zone); err != nil {
		return fmt.Errorf("--window-zone %.70q: this system knows no such time zone; try UTC, or one like Europe/Vienna", a.zone)
	}
	for _, s := range a.windows {
		w, err := upgrade.ParseWindow(s)
		if err != nil {
			return fmt.Errorf("--window: %w", err)
		}
		windows.Of = append(windows.Of, w)
	}
	return nil
}

// resolveSlots reads the slots.
func (a *agent) resolveSlots() (err error) {
	if a.slots == "" {
		if a.slotCurrent != "" || a.slotImage != "" {
			return errors.New("--slot-current-cmd and --slot-image are for --slots")
		}
		return nil
	}
	s := upgrade.Slots{Image: a.slotImage}
	if s.Of, err = upgrade.ParseSlots(a.slots); err != nil {
		return fmt.Errorf("--slots: %w", err)
	}
	for _, slot := range s.Of {
		if _, err := os.Stat(slot.Path); err != nil {
			return fmt.Errorf("--slots: slot %s: %w", slot.Name, err)
		}
	}
	if a.slotCurrent == "" {
		return errors.New("--slots needs --slot-current-cmd, a command that prints the name of the slot that runs")
	}
	if s.Current, err = upgrade.CommandCurrent(a.slotCurrent); err != nil {
		return fmt.Errorf("--slot-current-cmd %q: %w", a.slotCurrent, err)
	}
	a.config.Slots = &s
	return nil
}

// resolveSeal reads the keys for sealed images.
func (a *agent) resolveSeal() error {
	if a.gateway.unsealed && a.gateway.http == "" && a.gateway.tftp == "" {
		return errors.New("--serve-unsealed is for a gateway: give --serve or --serve-tftp")
	}
	a.config.Unsealer = seal.Unsealer{}
	for _, path := range a.sealKeys {
		key, err := manifest.LoadIdentity(path)
		if err != nil {
			return err
		}
		a.config.SealKeys = append(a.config.SealKeys, key)
	}
	return nil
}

// readToken reads an enrolment token, which is one word.
func readToken(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(b))
	if token == "" || len(token) > 256 || strings.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("--enrol-token-file %s: want one word, the token", file)
	}
	return token, nil
}

// transport returns one that trusts the certificates of a file, and shows certificates to a server that wants one.
func transport(file string, certificates []tls.Certificate) (http.RoundTripper, error) {
	roots, err := cli.CertPool("--tls-ca", file)
	if err != nil {
		return nil, err
	}
	return discovery.NewTransport(&tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, Certificates: certificates}), nil
}

// event tells what has happened.
func (a *agent) event(e upgrade.Event) {
	if a.events.On() {
		a.events.Line(e.JSON())
	}
	if line := describe(e); line != "" {
		a.progress.Line("%s", line)
		notify(a.service, line)
	}
	switch e.Kind {
	case upgrade.EventReceiving, upgrade.EventProgress:
		a.progress.Update("receiving", e.Bytes, e.Total, "")
	}
}

// describe says an event to a person, or nothing if it is for programs only.
func describe(e upgrade.Event) string {
	reason := ""
	if e.Reason != "" {
		reason = fmt.Sprintf(" (%s)", e.Reason)
	}
	if e.Detail != "" {
		reason += ": " + e.Detail
	}
	switch e.Kind {
	case upgrade.EventHinted:
		return fmt.Sprintf("campaign %s is said to be there (%s); asking the server", e.Campaign, e.Detail)
	case upgrade.EventAnnounced:
		return fmt.Sprintf("campaign %s: version %s, %s, by %s", e.Campaign, e.Version, cli.HumanBytes(e.Total), e.Group)
	case upgrade.EventRefused:
		return "refused" + reason
	case upgrade.EventReceiving:
		if e.Bytes > 0 {
			return fmt.Sprintf("receiving; %s of %s are here already", cli.HumanBytes(e.Bytes), cli.HumanBytes(e.Total))
		}
		return "receiving " + cli.HumanBytes(e.Total)
	case upgrade.EventSearched:
		return fmt.Sprintf("%s of %s are on this device; asking for the rest", cli.HumanBytes(e.Bytes), cli.HumanBytes(e.Total))
	case upgrade.EventLeafRejected:
		return fmt.Sprintf("wrong bytes in %s thrown away, and asked for again", e.Name)
	case upgrade.EventFallback:
		return "fetching the rest by HTTP" + reason
	case upgrade.EventStaged:
		return "all is here; verifying it from storage"
	case upgrade.EventReady:
		return "ready; waiting for the decision"
	case upgrade.EventDecision:
		return "decision: " + e.Verdict + reason
	case upgrade.EventHeld:
		return "the server says" + reason
	case upgrade.EventWaiting:
		return e.Detail
	case upgrade.EventActivated:
		return "activated: the new image runs"
	case upgrade.EventAborted:
		return "aborted" + reason + "; the old image stays"
	case upgrade.EventRolledBack:
		return "rolled back" + reason + ": the old image runs again"
	case upgrade.EventFailed:
		return "FAILED" + reason
	case upgrade.EventReleased:
		return "the stage was given up" + reason
	case upgrade.EventRoot:
		return "the keys to trust are those of " + e.Detail
	case upgrade.EventExamined:
		return fmt.Sprintf("examined the network by %s for the server: %s", e.Group, e.Detail)
	case upgrade.EventTrouble:
		if e.Server != "" && e.Reason != "" {
			return "the server refuses this device, and is asked again" + reason
		}
		if e.Server != "" {
			return "the server cannot be reached, trying again" + reason
		}
		return e.Detail
	}
	return ""
}

// abandonPatience is how long abandon waits for the agent's answer.
const abandonPatience = 10 * time.Second

func abandonCommand(w cli.World) *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "abandon --dir DIR",
		Short: "Give up the campaign of an agent",
		Long: `abandon makes the agent of a directory give up its campaign: what it receives ends, and a READY is released, so that
nothing is activated. If no agent runs, the next one that is started there does so.`,
		Example: `  normrecv abandon --dir /var/lib/upgrade`,
		Args:    cli.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := isDir(dir); err != nil {
				return cli.Usage(err)
			}
			late := &cli.Exit{Status: cli.TimedOut, Err: fmt.Errorf("the agent has not answered in %v; it will when it can", abandonPatience)}
			ctx, cancel := context.WithTimeoutCause(c.Context(), abandonPatience, late)
			defer cancel()
			done, err := upgrade.Abandon(ctx, dir)
			switch {
			case err != nil:
				return err
			case done:
				fmt.Fprintln(w.Stdout, "abandoned")
			default:
				fmt.Fprintln(w.Stdout, "no agent runs; the next one will abandon its campaign")
			}
			return nil
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "`directory` of the agent")
	c.MarkFlagRequired("dir")
	return c
}

func isDir(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a directory", path)
	}
	return err
}
