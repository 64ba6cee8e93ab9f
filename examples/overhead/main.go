// Overhead measures what repair costs a sender in bytes, in groups of receivers that lose segments at random, beside the least
// that it could cost. docs/overhead.md has the tables, and what they mean. The same seed gives the same numbers.
//
//	go run ./examples/overhead
//	go run ./examples/overhead -table modes -svg docs/images/overhead.svg
//	go run ./examples/overhead -table codes
package main

import (
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
	flag.Parse()
	if err := run(&overhead.Report{W: os.Stdout, Seed: *seed}, *table, *svg); err != nil {
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
