// Fanout runs real receivers on this machine, over loopback, and prints what they cost the sender: processes of normrecv in one
// NORM session, and clients of an HTTP and a TFTP server beside it. docs/scale.md has the results, and what they mean.
//
//	go run ./internal/fanout -processes 1,10,100,500 -deliveries 25000
//	go run ./internal/fanout -clients 10,100,1000 -size 1MiB
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/multicast-upgrade/tool/internal/cli"
)

// serveEnv makes this program the server of a comparison, in a process of its own so that its CPU time can be told.
const serveEnv = "FANOUT_SERVE"

func main() {
	if what := os.Getenv(serveEnv); what != "" {
		exit(serve(what))
	}
	processes := flag.String("processes", "", "measure one session of normrecv processes, of each `number`, separated by commas")
	clients := flag.String("clients", "", "compare HTTP, TFTP and NORM for each `number` of clients")
	size := cli.Size(8e6)
	flag.Var(&size, "size", "of the file, in `bytes`")
	deliveries := flag.Int("deliveries", 60_000, "`datagrams` a second that all receivers together are to take, by which the rate is chosen")
	dir := flag.String("dir", os.TempDir(), "`directory` for what receivers write: as many files as there are receivers")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exit(run(ctx, *processes, *clients, int(size), *deliveries, *dir))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "fanout:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(ctx context.Context, processes, clients string, size, deliveries int, dir string) error {
	sessions, err := numbers(processes)
	if err != nil {
		return err
	}
	compared, err := numbers(clients)
	if err != nil {
		return err
	}
	if len(sessions)+len(compared) == 0 || size < 1 || deliveries < 1 {
		return errors.New("want -processes or -clients, a -size and -deliveries; see -help")
	}
	if dir, err = os.MkdirTemp(dir, "fanout-*"); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := bench{dir: dir, deliveries: deliveries, image: filepath.Join(dir, "image.bin")}
	if err := b.prepare(ctx, ".", size); err != nil {
		return err
	}
	if len(sessions) > 0 {
		fmt.Println("| receivers | verified | rate, Mbit/s | seconds | sent, files | sender, CPU s user | system | user per s | system per s |")
		fmt.Println("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	}
	for _, n := range sessions {
		r, err := b.session(ctx, n)
		if err != nil {
			return err
		}
		fmt.Printf("| %d | %d | %.1f | %.1f | %.3f | %.2f | %.2f | %.3f | %.3f |\n", n, r.verified, r.rate/1e6, r.seconds, r.sent,
			r.user, r.system, r.user/r.seconds, r.system/r.seconds)
	}
	if len(compared) > 0 {
		fmt.Println("| receivers | by | verified | sent, files | seconds | server, CPU s |")
		fmt.Println("| ---: | --- | ---: | ---: | ---: | ---: |")
	}
	for _, n := range compared {
		for _, by := range []string{"HTTP", "TFTP", "NORM"} {
			r, err := b.compare(ctx, by, n)
			if err != nil {
				return fmt.Errorf("%s: %w", by, err)
			}
			cpu := fmt.Sprintf("%.2f", r.user+r.system)
			if r.simulated {
				by, cpu = by+", simulated", "-"
			}
			fmt.Printf("| %d | %s | %d | %.2f | %.1f | %s |\n", n, by, r.verified, r.sent, r.seconds, cpu)
		}
	}
	return nil
}

// numbers reads numbers separated by commas.
func numbers(s string) (list []int, err error) {
	for word := range strings.SplitSeq(s, ",") {
		if word == "" {
			continue
		}
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 || n > 100_000 {
			return nil, fmt.Errorf("%q is no number of receivers", word)
		}
		list = append(list, n)
	}
	return list, nil
}

// A result is what it took to bring a file to receivers.
type result struct {
	verified     int     // receivers that have it, each byte of it
	rate         float64 // bits per second; 0: as fast as it went
	seconds      float64 // from the first byte to the last receiver
	sent         float64 // UDP or TCP payload that left the sender, in files
	user, system float64 // CPU time of the sender, in seconds
	simulated    bool    // in virtual time, so that there is no CPU time
}

// A bench is where sessions run: commands and an image in a directory.
type bench struct {
	dir, image, sum string
	content         []byte
	deliveries      int // datagrams a second that all receivers of a session together are to take
}

// prepare builds the commands of the module at root, and makes the image.
func (b *bench) prepare(ctx context.Context, root string, size int) error {
	build := exec.CommandContext(ctx, "go", "build", "-o", b.dir, "./cmd/normsend", "./cmd/normrecv")
	build.Dir, build.Stderr = root, os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building the commands, from the root of the repository: %w", err)
	}
	b.content, b.sum = content(size)
	return os.WriteFile(b.image, b.content, 0o644)
}
