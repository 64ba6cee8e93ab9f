// Overhead measures what repair costs a sender in bytes, in groups of receivers that lose segments at random, beside the least
// that it could cost. docs/overhead.md has the tables, and what they mean. The same seed gives the same numbers.
//
//	go run ./examples/overhead
//	go run ./examples/overhead -table modes -svg docs/images/overhead.svg
//	go run ./examples/overhead -table codes
//	go run ./examples/overhead -table modes -receivers 10000 -loss 0.05    # a part of it
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/multicast-upgrade/tool/norm/normtest/overhead"
)

func main() {
	table := flag.String("table", "quick", "quick: the default, in seconds; modes: ways to repair; codes: block sizes")
	svg := flag.String("svg", "", "draw the modes into this `file`")
	seed := flag.Uint64("seed", 1, "of all that is random")
	receivers := flag.Int("receivers", 0, "of modes and codes only what has this `number` of receivers: 4, 100 or 10000; 0 has all")
	loss := flag.Float64("loss", 0, "and only what has this `share` of loss: 0.001, 0.01, 0.05, 0.1 or 0.2; 0 has all")
	flag.Parse()
	r := &overhead.Report{W: os.Stdout, Seed: *seed, Receivers: *receivers, Loss: *loss}
	err := run(r, *table, *svg)
	if err == nil && r.Rows == 0 {
		err = fmt.Errorf("table %s has no row of %d receivers and a loss of %g", *table, *receivers, *loss)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(r *overhead.Report, table, svg string) error {
	switch table {
	case "quick":
		return r.Quick()
	case "codes":
		return r.Codes()
	case "modes":
		if svg == "" {
			return r.Modes(io.Discard)
		}
		if r.Receivers != 0 || r.Loss != 0 {
			return errors.New("-svg draws the whole table: leave -receivers and -loss out")
		}
		f, err := os.Create(svg)
		if err != nil {
			return err
		}
		if err := r.Modes(f); err != nil {
			return err
		}
		return f.Close()
	}
	return fmt.Errorf("no table %q: want quick, modes or codes", table)
}
