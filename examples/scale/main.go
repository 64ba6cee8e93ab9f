// Scale simulates one session with up to 100,000 receivers in one process, each of them a norm.Receiver with all its code,
// and prints what it took. The same seed gives the same numbers. docs/scale.md has the results, and what they mean.
//
//	go run ./examples/scale
//	go run ./examples/scale -receivers 100000 -size 2MB -loss independent:1%
//	go run ./examples/scale -suite event -results results.jsonl
//	go run ./examples/scale -suite event -row 7
//	go run ./examples/scale -results results.jsonl -tables -plots docs/images
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/norm/normtest/scale"
)

func main() {
	var cfg scale.Config
	flag.CommandLine = flag.NewFlagSet("scale", flag.ExitOnError)
	size, rate := cli.Size(2e6), cli.BitRate(10e6)
	loss := scale.Loss{Kind: scale.LossIndependent, Share: 0.01}
	flag.IntVar(&cfg.Receivers, "receivers", 1000, "how many `receivers` there are")
	flag.Var(&size, "size", "of the object, in `bytes`")
	flag.Var(&rate, "rate", "of the sender, in `bits` per second")
	flag.DurationVar(&cfg.Sender.GRTT, "grtt", 0, "greatest round trip time; packets take half of it (default 100ms)")
	flag.IntVar(&cfg.Sender.BackoffFactor, "k", 4, "K_sender, which scales the backoff of NACKs")
	flag.IntVar(&cfg.Sender.GroupSize, "gsize", 0, "how many receivers the sender says there are (default as many as there are)")
	flag.IntVar(&cfg.Sender.AutoParity, "parity", 0, "parity symbols sent behind each block unasked; 0 leaves it to the sender, -1 is none")
	flag.TextVar(&loss, "loss", loss, "none, event, or group, tree, independent or burst with a percentage, as in independent:1%")
	flag.BoolVar(&cfg.Unicast, "unicast", false, "feedback goes to the sender alone, which repeats it by NORM_CMD(REPAIR_ADV)")
	flag.BoolVar(&cfg.Record, "sender", false, "measure the sender by itself, too")
	flag.Uint64Var(&cfg.Seed, "seed", 1, "of all that is random")
	suite := flag.String("suite", "", "run one of "+scale.SuiteNames()+" instead")
	number := flag.Int("row", 0, "of the suite only the session of this `number`, from 1 on, in the order of docs/scale/results.jsonl")
	results := flag.String("results", "", "add results to this `file`; with -tables and -plots, read them from it")
	tables := flag.Bool("tables", false, "print the tables of docs/scale.md")
	plots := flag.String("plots", "", "draw the plots of docs/scale.md into this `directory`")
	flag.Parse()
	cfg.Size, cfg.Sender.Rate, cfg.Loss = int64(size), float64(rate), loss

	show := func(row scale.Row) error {
		fmt.Println(row)
		if *results == "" {
			return nil
		}
		return row.Append(*results)
	}
	var err error
	switch {
	case flag.NArg() > 0:
		err = fmt.Errorf("%w: %q: everything is said by flags, see -help", scale.ErrConfig, flag.Args())
	case *number != 0 && *suite == "":
		err = fmt.Errorf("%w: -row %d: name its -suite", scale.ErrConfig, *number)
	case *tables || *plots != "":
		err = scale.Publish(os.Stdout, *results, *tables, *plots)
	case *suite != "":
		err = scale.RunSuite(*suite, *number, show)
	default:
		var row scale.Row
		if row, err = scale.RunRow("", cfg); err == nil {
			err = show(row)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		if errors.Is(err, scale.ErrConfig) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}
