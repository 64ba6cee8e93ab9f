// Command bench measures how fast files reach several receivers, beside what else there is to send them with, and beside
// what the kernel could carry. It makes a network of its own (namespaces on a bridge), runs the commands as processes in it,
// and prints tables in Markdown. docs/performance.md says how to read them.
//
//	go run ./examples/bench                                          (as root, on Linux; a quarter of an hour)
//	go run ./examples/bench -receivers 4 -loss 0,5 -sizes 20MB       (what matters most, in three minutes)
package main

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// options is what is asked for.
type options struct {
	receivers []int
	losses    []float64 // percent
	sizes     []int64   // bytes
	systems   []string
	runs      int
	all       bool
	pace      bool
	dir       string
	budget    time.Duration
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "blast" { // ourselves, on a host of the network
		exit(blast(os.Args[2:]))
	}
	o := options{receivers: []int{1, 4, 8}, losses: []float64{0, 1, 5, 20}, sizes: []int64{20e6, 200e6}, systems: systemNames()}
	list("receivers", "how many receivers, each `number` in turn (default 1,4,8)", &o.receivers, strconv.Atoi)
	list("loss", "`percent` of the datagrams that each receiver loses (default 0,1,5,20)", &o.losses, parsePercent)
	list("sizes", "`sizes` of the file, in MB or GB of a million and a billion bytes (default 20MB,200MB)", &o.sizes, parseSize)
	list("systems", "`names` of what is measured, where it is installed (default all: "+strings.Join(o.systems, ",")+")", &o.systems, parseSystem)
	flag.IntVar(&o.runs, "runs", 3, "runs of each at its best rate, of which the median is shown")
	flag.BoolVar(&o.all, "all", false, "run the others in each case, not only with 4 receivers")
	flag.BoolVar(&o.pace, "pace", true, "measure how evenly normsend keeps a rate")
	flag.StringVar(&o.dir, "dir", "/dev/shm", "`directory` for files, in memory lest the disk be measured")
	flag.DurationVar(&o.budget, "budget", 14*time.Minute, "begin nothing new after this time")
	flag.Parse()
	if flag.NArg() > 0 || o.runs < 1 {
		fmt.Fprintln(os.Stderr, "bench: want flags only, and at least one run; see -help")
		os.Exit(2)
	}
	exit(run(o))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// list defines a flag of values separated by commas.
func list[T any](name, usage string, to *[]T, parse func(string) (T, error)) {
	flag.Func(name, usage, func(s string) error {
		*to = nil
		for field := range strings.SplitSeq(s, ",") {
			v, err := parse(field)
			if err != nil {
				return err
			}
			*to = append(*to, v)
		}
		return nil
	})
}
