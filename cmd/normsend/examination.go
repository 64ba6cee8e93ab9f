package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/upgrade/api/rest"
	"github.com/spf13/cobra"
)

func examinationCommands(w cli.World) []*cobra.Command {
	return []*cobra.Command{examineCommand(w), remoteCommand{
		use: "doctor", short: "List by site what devices have found out about their network", example: "device doctor --server https://192.0.2.1:8443 --token-file anna.token",
		long: `doctor lists what devices have found that were asked by normsend device examine, the sites first where most is wrong: each device
counts by the first of its worst findings. normsend device show ID has all that a device has found.`,
		run: func(ctx context.Context, s *client, _ []string) error {
			all, err := pages(func(after string) ([]rest.SiteDiagnosis, string, error) {
				l, err := ask[rest.DiagnosisList](s.api.ListDiagnoses(ctx, &rest.ListDiagnosesParams{Order: "-wrong", After: after, Limit: 1000}))
				return l.Items, l.Next, err
			})
			if err != nil {
				return err
			}
			if err := table(s, "site", all, "SITE\tASKED\tOK\tWRONG\tNO ANSWER", func(v rest.SiteDiagnosis) []any {
				return []any{cmp.Or(v.Site, "-"), v.Asked, v.Ok, v.Wrong, v.Waiting}
			}); err != nil || s.json {
				return err
			}
			for _, v := range all {
				for _, t := range v.Trouble {
					fmt.Fprintln(s.world.Stdout, printable(fmt.Sprintf("%s: %s of %s, such as %s: %s", cmp.Or(v.Site, "-"), t.Verdict, t.Check, t.Example, cmp.Or(t.Remedy, "see the device"))))
				}
			}
			return nil
		},
	}.build(w)}
}

func examineCommand(w cli.World) *cobra.Command {
	var e rest.NewExamination
	segment, rate := cli.Size(0), cli.BitRate(0)
	return remoteCommand{
		use: "examine [ID…]", short: "Have devices find out how multicast reaches them from the server",
		long: `examine asks devices to do what normrecv doctor does, one after the other, while the server answers them: it takes three seconds
for each. Without names it asks some of each site, those first that wait for news at the server. Devices for which a campaign
runs are left alone.`,
		example: "device examine --site berlin --per-site 3 --server https://192.0.2.1:8443 --token-file anna.token",
		args:    cobra.ArbitraryArgs,
		flags: func(c *cobra.Command) {
			fs := c.Flags()
			fs.StringSliceVar(&e.Products, "product", nil, "only of these `products`")
			fs.StringSliceVar(&e.Sites, "site", nil, "only at these `sites`")
			fs.StringSliceVar(&e.Tags, "tag", nil, "only with one of these `tags`")
			fs.IntVar(&e.PerSite, "per-site", 2, "ask so many of each site")
			fs.StringVar(&e.Group, "group", "", "multicast group and port; default: one that no campaign has")
			fs.Var(&segment, "segment-size", "that has to pass; default: 1400")
			fs.Var(&rate, "rate", "look for loss up to this rate; default: 10M, or what all campaigns share")
		},
		run: func(ctx context.Context, s *client, args []string) error {
			e.Devices, e.SegmentSize, e.Rate = args, int(segment), float64(rate)
			made, err := ask[rest.Examination](s.api.ExamineDevices(ctx, &rest.ExamineDevicesParams{}, e))
			if err != nil {
				return err
			}
			if s.json {
				return s.line("examination", made)
			}
			fmt.Fprintf(s.world.Stdout, "%s asked, by %s; all will have begun at %s: see normsend device doctor\n", count(len(made.Devices), "device"), made.Group, made.Until.Local().Format(time.TimeOnly))
			return nil
		},
	}.build(w)
}

// findings prints what a device has found out about its network, if it was asked.
func findings(ctx context.Context, s *client, device string) error {
	resp, err := s.api.ShowDiagnosis(ctx, device)
	if err == nil && resp.StatusCode == http.StatusNotFound {
		return resp.Body.Close()
	}
	d, err := ask[rest.Diagnosis](resp, err)
	if err != nil {
		return err
	}
	if s.json {
		return s.line("diagnosis", d)
	}
	switch {
	case d.Waiting:
		fmt.Fprintf(s.world.Stdout, "asked to examine its network %s, and has not answered\n", moment(d.Asked))
	default:
		fmt.Fprintf(s.world.Stdout, "its network, as it found it %s:\n", moment(d.At))
	}
	for _, f := range d.Findings {
		cli.Finding(s.world.Stdout, string(f.Verdict), printable(f.Check), printable(f.Seen), printable(f.Remedy))
	}
	return nil
}
