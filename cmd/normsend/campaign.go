package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade/api/rest"
	"github.com/spf13/cobra"
)

func campaignCommand(w cli.World) *cobra.Command {
	c := &cobra.Command{
		Use:   "campaign",
		Short: "Make, run and watch the campaigns of a server",
		Long: `A campaign brings a release to devices of a server: it is made (create), agreed with by somebody else if it is to be
(approve), and started. Then devices fetch, verify and vote, and it commits by its policy, or is asked about (commit, abort).

CAMPAIGN is the id of a campaign or, where only one that is not closed has it, its name.`,
	}
	c.AddCommand(createCampaignCommand(w), listCampaignsCommand(w), showCampaignCommand(w))
	for _, a := range []struct {
		name, short string
		f           func(ctx context.Context, s *client, c rest.Campaign) (*http.Response, error)
	}{
		{"start", "Freeze the targets, and run it when its schedule says so", func(ctx context.Context, s *client, c rest.Campaign) (*http.Response, error) {
			return s.api.StartCampaign(ctx, c.Id, &rest.StartCampaignParams{IfMatch: etagOf(c.Revision)})
		}},
		{"pause", "Stop all that can be stopped: nothing is sent or decided, and devices hold", func(ctx context.Context, s *client, c rest.Campaign) (*http.Response, error) {
			return s.api.PauseCampaign(ctx, c.Id, nil)
		}},
		{"hold", "Stop devices that have not begun to activate", func(ctx context.Context, s *client, c rest.Campaign) (*http.Response, error) {
			return s.api.HoldCampaign(ctx, c.Id, nil)
		}},
		{"resume", "Let all go on after pause or hold, whatever has stopped it", func(ctx context.Context, s *client, c rest.Campaign) (*http.Response, error) {
			return s.api.ResumeCampaign(ctx, c.Id, nil)
		}},
		{"abort", "Decide to ABORT: no device activates that is not in a wave which was committed", func(ctx context.Context, s *client, c rest.Campaign) (*http.Response, error) {
			return s.api.AbortCampaign(ctx, c.Id, nil)
		}},
		{"discard", "Close a draft, or a campaign that waits for its start", func(ctx context.Context, s *client, c rest.Campaign) (*http.Response, error) {
			return s.api.DiscardCampaign(ctx, c.Id, nil)
		}},
	} {
		c.AddCommand(remoteCommand{
			use: a.name + " CAMPAIGN", short: a.short, args: oneCampaign,
			example: "campaign " + a.name + " spring --server https://192.0.2.1:8443 --token-file anna.token",
			run: func(ctx context.Context, s *client, args []string) error {
				c, err := findCampaign(ctx, s, args[0])
				if err != nil {
					return err
				}
				return done(a.f(ctx, s, c))
			},
		}.build(w))
	}
	c.AddCommand(approveCampaignCommand(w), commitCampaignCommand(w), evidenceCommand(w), resolveCampaignCommand(w))
	return c
}

func commitCampaignCommand(w cli.World) *cobra.Command {
	var wave int
	return remoteCommand{
		use: "commit CAMPAIGN", short: "Agree to COMMIT the wave that is open", args: oneCampaign,
		example: "campaign commit spring --wave 2 --server https://192.0.2.1:8443 --token-file anna.token",
		flags: func(c *cobra.Command) {
			c.Flags().IntVar(&wave, "wave", 0, "only if this wave is open, counted from 1: another may be by now")
		},
		run: func(ctx context.Context, s *client, args []string) error {
			if wave < 0 {
				return cli.Usagef("--wave %d: the first is 1", wave)
			}
			c, err := findCampaign(ctx, s, args[0])
			if err != nil {
				return err
			}
			q := rest.CommitCampaignParams{}
			if wave > 0 {
				q.Wave = new(wave - 1)
			}
			return done(s.api.CommitCampaign(ctx, c.Id, &q))
		},
	}.build(w)
}

var oneCampaign = cli.OneArg("say which campaign")

// findCampaign returns a campaign by its id, or by a name that only one of the open ones has.
func findCampaign(ctx context.Context, s *client, which string) (rest.Campaign, error) {
	if _, err := manifest.ParseCampaignID(which); err == nil {
		return ask[rest.Campaign](s.api.ShowCampaign(ctx, which))
	}
	l, err := ask[rest.CampaignList](s.api.ListCampaigns(ctx, &rest.ListCampaignsParams{Name: which, Limit: 1000}))
	if err != nil {
		return rest.Campaign{}, err
	}
	open := slices.DeleteFunc(l.Items, func(c rest.Campaign) bool { return c.Phase == rest.PhaseClosed })
	if len(open) != 1 {
		return rest.Campaign{}, cli.Usagef("%d campaigns that are not closed have the name %q; say the id: normsend campaign list", len(open), which)
	}
	return ask[rest.Campaign](s.api.ShowCampaign(ctx, open[0].Id))
}

func createCampaignCommand(w cli.World) *cobra.Command {
	var d rest.Draft
	var settings, at string
	var sealTo []string
	var waves waveFlags
	var rate cli.BitRate
	var wait cli.Duration
	set := &d.Settings
	var cmd *cobra.Command
	cmd = remoteCommand{
		use: "create --name NAME --release DIGEST (--product P | --site S | --tag T | --device ID | --settings FILE) [flags]", short: "Make a draft of a campaign",
		long: `create makes a draft, which nobody is told of before it is started, and prints its id. A device is a target if
it is named by all of --product, --site, --tag and --device that are given; its key has to be approved.

With --wave the targets are parts that are decided one after the other, and all of them receive at once. The next begins when
--success percent of the one before it run the new image and have done so for --soak; with more failures than --errors, or
results that stay away, the campaign is paused until somebody resumes or aborts it. What a percentage chooses is the same
whenever it is worked out, and other devices in the next campaign.

Settings for which there is no flag are in a JSON file, as GET /api/v1/campaigns/ID shows them; flags go before it.`,
		example: `campaign create --name spring --release DIGEST --product lamp --site berlin --two-people --server https://192.0.2.1:8443 --token-file anna.token`,
		flags: func(c *cobra.Command) {
			fs := c.Flags()
			fs.StringVar(&d.Name, "name", "", "its name, for people")
			fs.StringVar(&d.Release, "release", "", "the `digest` of the release: normsend release list")
			fs.StringVar(&settings, "settings", "", "JSON `file` with settings")
			fs.StringSliceVar(&set.Targets.Products, "product", nil, "for devices of these `products`; default: that of the release")
			fs.StringSliceVar(&set.Targets.Sites, "site", nil, "at these `sites`")
			fs.StringSliceVar(&set.Targets.Tags, "tag", nil, "with one of these `tags`")
			fs.StringSliceVar(&set.Targets.Devices, "device", nil, "of these `devices`")
			waves.add(fs)
			fs.IntVar(&set.Policy.MaxFailures, "max-failures", 0, "stop when so many devices have failed: the others hold, and no wave is decided; 0 never")
			fs.BoolVar(&set.Policy.TwoPeople, "two-people", false, "somebody else has to approve it before it starts")
			fs.StringVar(&set.Transport.Group, "group", "", "multicast group and port; default: one of the server's pool")
			fs.StringVar(&set.Transport.Interface, "interface", "", "network `interface` of the server")
			fs.Var(&rate, "rate", "bit rate to send with at most")
			fs.BoolVar(&set.Transport.SegmentHashes, "segment-hashes", false, "send hashes of all segments ahead, by which devices drop forged ones at once; older agents refuse that")
			fs.StringSliceVar(&sealTo, "seal-to", nil, "who opens sealed images: public seal key `files` of groups, or devices; default: devices, each target for itself")
			fs.StringVar(&at, "at", "", "start at this `time`, such as 2026-12-24T02:00:00Z")
			fs.IntVar(&set.Schedule.Joined, "joined", 0, "then wait until so many targets are there")
			fs.Var(&wait, "wait", "or until so long has passed")
			c.MarkFlagRequired("name")
			c.MarkFlagRequired("release")
		},
		run: func(ctx context.Context, s *client, _ []string) error {
			given := cmd.Flags().Changed
			var err error
			if set.Policy.Waves, err = waves.waves(); err != nil {
				return err
			}
			set.Transport.Rate, set.Schedule.Wait = float64(rate), int64(wait)
			if !given("rate") {
				set.Transport.Rate = 0
			}
			if set.Seal, err = sealSettings(sealTo); err != nil {
				return cli.Usagef("--seal-to: %w", err)
			}
			if at != "" {
				t, err := time.Parse(time.RFC3339, at)
				if err != nil {
					return cli.Usagef("--at %q: want a time such as 2026-12-24T02:00:00Z", at)
				}
				set.Schedule.At = t
			}
			if settings != "" {
				merged, err := mergeSettings(settings, *set, given("commit"))
				if err != nil {
					return cli.Usagef("--settings %s: %w", settings, err)
				}
				*set = merged
			}
			c, err := ask[rest.Campaign](s.api.CreateCampaign(ctx, nil, d))
			if err != nil {
				return err
			}
			if s.json {
				return s.line("campaign", c)
			}
			_, err = fmt.Fprintln(s.world.Stdout, c.Id)
			return err
		},
	}.build(w)
	return cmd
}

func listCampaignsCommand(w cli.World) *cobra.Command {
	var phases []string
	return remoteCommand{
		use: "list", short: "List campaigns", example: "campaign list --phase running --server https://192.0.2.1:8443 --token-file anna.token",
		flags: func(c *cobra.Command) {
			c.Flags().StringSliceVar(&phases, "phase", nil, "only in these `phases`: draft, scheduled, running, paused, closed")
		},
		run: func(ctx context.Context, s *client, _ []string) error {
			q := rest.ListCampaignsParams{Limit: 1000}
			for _, p := range phases {
				q.Phase = append(q.Phase, rest.Phase(p))
			}
			all, err := pages(func(after string) ([]rest.Campaign, string, error) {
				q.After = after
				l, err := ask[rest.CampaignList](s.api.ListCampaigns(ctx, &q))
				return l.Items, l.Next, err
			})
			if err != nil {
				return err
			}
			return table(s, "campaign", all, "ID\tNAME\tPHASE\tMADE BY\tAPPROVED BY\tMADE", func(c rest.Campaign) []any {
				return []any{c.Id, c.Name, c.Phase, c.Created.Actor, c.Approved.Actor, moment(c.Created.At)}
			})
		},
	}.build(w)
}

func showCampaignCommand(w cli.World) *cobra.Command {
	var devices bool
	var cause string
	return remoteCommand{
		use: "show CAMPAIGN", short: "Show where a campaign is", example: "campaign show spring --devices --server https://192.0.2.1:8443 --token-file anna.token", args: oneCampaign,
		long: `show says where a campaign is and, of one that is not started, which targets it would have now.`,
		flags: func(c *cobra.Command) {
			c.Flags().BoolVar(&devices, "devices", false, "list its targets")
			c.Flags().StringVar(&cause, "cause", "", "list only those that lag for this `cause`, such as never-joined")
		},
		run: func(ctx context.Context, s *client, args []string) error {
			c, err := findCampaign(ctx, s, args[0])
			if err != nil {
				return err
			}
			if devices || cause != "" {
				return listTargets(ctx, s, c.Id, cause)
			}
			if c.Phase == rest.PhaseDraft {
				return showDraft(ctx, s, c)
			}
			st, err := ask[rest.Status](s.api.ShowCampaignStatus(ctx, c.Id))
			if err != nil {
				return err
			}
			lines := []any{"campaign", c.Name + ", " + c.Id, "phase", phaseText(st), "decision", decisionText(st, time.Now()), "trouble", st.Trouble,
				"targets", fmt.Sprintf("%d: %d joined, %d ready, %d committed", st.Targets, st.Joined, st.Ready, st.Committed)}
			lines = append(lines, approvalLines(st)...)
			lines = append(lines, waveLines(st.Waves, time.Now())...)
			return show(s, "status", st, append(lines, "laggards", causesText(st.Causes), "sent", sentText(st.Sending))...)
		},
	}.build(w)
}

func showDraft(ctx context.Context, s *client, c rest.Campaign) error {
	p, err := ask[rest.Preview](s.api.PreviewCampaign(ctx, rest.Draft{Name: c.Name, Release: c.Release, Settings: c.Settings}))
	if err != nil {
		return err
	}
	if s.json {
		return s.line("campaign", c)
	}
	approved := "by " + c.Approved.Actor
	if c.Approved.Actor == "" {
		approved = "no"
		if c.Settings.Policy.TwoPeople {
			approved = "no, and it has to be"
		}
	}
	var taken []string
	for _, o := range p.Overlap {
		taken = append(taken, o.Device+" by "+o.Name)
	}
	if more := len(taken) - 5; more > 0 {
		taken = append(taken[:5], fmt.Sprintf("%d more", more))
	}
	lines := []any{"campaign", c.Name + ", " + c.Id, "phase", c.Phase, "release", c.Release, "made by", c.Created.Actor, "approved", approved,
		"targets now", fmt.Sprintf("%d at %d sites; %d more wait for approval of their keys", p.Targets, len(p.Sites), p.Pending)}
	for i, w := range p.Waves {
		lines = append(lines, fmt.Sprintf("wave %d", i+1), fmt.Sprintf("%d at %d sites", w.Targets, len(w.Sites)))
	}
	return show(s, "campaign", c, append(lines, "trouble", p.Problem, "taken", strings.Join(taken, ", "))...)
}

func listTargets(ctx context.Context, s *client, id, cause string) error {
	all, err := pages(func(after string) ([]rest.Target, string, error) {
		l, err := ask[rest.TargetList](s.api.ListCampaignDevices(ctx, id, &rest.ListCampaignDevicesParams{Cause: rest.Cause(cause), After: after, Limit: 1000}))
		return l.Items, l.Next, err
	})
	if err != nil {
		return err
	}
	return table(s, "device", all, "DEVICE\tSITE\tWAVE\tSTATE\tVERIFIED\tCAUSE", func(t rest.Target) []any {
		verified := ""
		if t.Total > 0 {
			verified = fmt.Sprintf("%d %%", t.Bytes*100/t.Total)
		}
		return []any{t.Device, t.Site, t.Wave + 1, t.State, verified, t.Detail}
	})
}

func phaseText(st rest.Status) string {
	text := string(st.Phase)
	if st.Leader != "" {
		text += ", led by " + st.Leader
	}
	if st.Restored {
		text += ", waits since the database was restored: normsend campaign resolve"
	}
	return text
}

func decisionText(st rest.Status, now time.Time) string {
	text := "open"
	switch {
	case st.Phase != rest.PhaseRunning && st.Phase != rest.PhasePaused && st.Verdict == "":
		return ""
	case st.Verdict == "COMMIT" || st.Verdict == "ABORT":
		text = because(st.Verdict, commit.Reason(st.Reason))
	case st.Asking:
		text = "open, waits for normsend campaign commit"
	}
	if st.Paused {
		return text + "; " + because("paused", commit.Reason(st.Brake)) + ", waits for normsend campaign resume or abort"
	}
	if left := st.Deadline.Sub(now).Round(time.Second); left > 0 && strings.HasPrefix(text, "open") {
		text += fmt.Sprintf("; votes end in %v", left)
	}
	if st.Held {
		text += "; " + because("on hold", commit.Reason(st.Brake))
	}
	return text
}

func causesText(causes map[string]int) string {
	var all []string
	for cause, n := range causes {
		all = append(all, fmt.Sprintf("%d %s", n, cause))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func sentText(s rest.Sending) string {
	if !s.Begun {
		return ""
	}
	rate := cli.BitRate(s.Rate)
	return fmt.Sprintf("%s of %s, at %s", cli.HumanBytes(s.Sent), cli.HumanBytes(s.Total), rate.String())
}

func resolveCampaignCommand(w cli.World) *cobra.Command {
	var adopt, vouch bool
	return remoteCommand{
		use: "resolve CAMPAIGN (--adopt | --nothing-signed)", short: "Say how a campaign goes on after the database was restored", args: oneCampaign,
		long: `A database that was restored may have forgotten a decision. With --adopt the campaign takes any decision that a device
shows, and makes none. With --nothing-signed you vouch that the server has decided nothing for it since the backup.`,
		example: "campaign resolve spring --adopt --server https://192.0.2.1:8443 --token-file anna.token",
		flags: func(c *cobra.Command) {
			c.Flags().BoolVar(&adopt, "adopt", false, "take what devices were told")
			c.Flags().BoolVar(&vouch, "nothing-signed", false, "go on as if nothing had happened")
		},
		run: func(ctx context.Context, s *client, args []string) error {
			if adopt == vouch {
				return cli.Usagef("say one of --adopt and --nothing-signed; see normsend campaign resolve --help")
			}
			c, err := findCampaign(ctx, s, args[0])
			if err != nil {
				return err
			}
			return done(s.api.ResolveCampaign(ctx, c.Id, &rest.ResolveCampaignParams{IfMatch: etagOf(c.Revision)}, rest.Resolution{Adopting: adopt}))
		},
	}.build(w)
}
