package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/spf13/cobra"
)

const (
	reportEvery = 500 * time.Millisecond // between two reports of progress
	flushEvery  = time.Second            // between series of FLUSH while it lingers, for receivers that come late
)

func fileCommand(w cli.World) *cobra.Command {
	f := fileSender{world: w}
	c := &cobra.Command{
		Use:   "file --group G [flags] PATH…",
		Short: "Send files to a group",
		Long: `file sends files, and the files beneath directories, to a group. Receivers ask for what they miss; when
nobody has asked for anything during --linger, it says goodbye and ends. With --ack it also asks the receivers named for
acknowledgment of each file, prints who gave it and who did not, and ends with status 1 if one did not.`,
		Example: `  normsend file --group 239.1.2.3:6003 --interface eth0 --rate 50M firmware.bin
  normrecv file --group 239.1.2.3:6003 --interface eth0 --out incoming --count 1     # on each receiver
  normsend file --group 239.1.2.3:6003 --interface eth0 --ack 7,8 firmware.bin       # of normrecv --node-id 7, and 8`,
		Args: cli.SomeArgs("name the files to send"),
		RunE: func(c *cobra.Command, paths []string) error {
			f.fitSegment = !c.Flags().Changed("segment-size")
			return f.run(c.Context(), paths)
		},
	}
	f.link.register(c)
	f.transport.register(c)
	fs := c.Flags()
	fs.IntVar(&f.link.dscp, "dscp", 0, "differentiated services codepoint, 0 to 63")
	fs.StringVar(&f.transport.dialect, "dialect", "", "whose reading of the code: rfc (the default but with rs8-129), nrl for receivers by NRL, or mdp for old ones")
	fs.Uint32Var(&f.transport.nodeID, "node-id", 0, "our NORM node id; 0 takes one at random")
	fs.BoolVar(&f.transport.repeatInfo, "repeat-info", false, "send the name of a file again with each block, for receivers that cannot ask (normrecv file --silent)")
	fs.StringVar(&f.authKey, "auth-key", "", "authenticate packets by the group key in this `file` (keygen --role group); receivers need it too")
	fs.DurationVar(&f.linger, "linger", 10*time.Second, "stay this long for receivers that still miss something")
	fs.StringSliceVar(&f.ack, "ack", nil, "ask these `nodes` (their NORM node ids, separated by commas) to acknowledge each file")
	fs.StringSliceVar(&f.transport.potential, "plr", nil, "with --rate auto: ask these `nodes`, which are behind slow paths, for feedback at once and always, 16 of them at most")
	fs.BoolVar(&f.transport.withhold, "withhold", false, "with --rate auto: send nothing but probes until a receiver answers, and whenever none does any more")
	fs.DurationVar(&f.transport.patience, "patience", 0, "with --min-rate: do not reckon with receivers that have borne less for so long; 0 always does")
	fs.BoolVar(&f.json, "json", false, "print one JSON event per line to stdout")
	f.trace.Register(c)
	c.MarkFlagRequired("group")
	return c
}

// A fileSender is one run of normsend file.
type fileSender struct {
	world     cli.World
	link      linkFlags
	transport transportFlags
	linger    time.Duration
	ack       []string
	json      bool
	authKey   string
	trace     cli.Trace

	fitSegment bool // the segment size is ours to choose

	events   *cli.Events
	progress *cli.Progress
	acks     fileAcks
	waiting  []outgoing               // not yet queued
	queued   map[norm.Handle]outgoing // until sent
	open     map[norm.Handle]*os.File // until purged
	total    int64
	sent     int64
	activity uint64 // NACKs heard and repairs sent, as last reported
}

// An outgoing is a file and the name receivers shall give it.
type outgoing struct {
	path, name string
	size       int64
}

func (f *fileSender) run(ctx context.Context, paths []string) (err error) {
	f.events, f.progress = cli.NewEvents(f.world.Stdout, f.json), cli.NewProgress(f.world.Stderr)
	f.queued, f.open = make(map[norm.Handle]outgoing), make(map[norm.Handle]*os.File)
	if f.waiting, err = findFiles(paths); err != nil {
		return cli.Usage(err)
	}
	if f.acks.nodes, err = parseNodes("--ack", f.ack); err != nil {
		return cli.Usage(err)
	}
	for _, o := range f.waiting {
		f.total += o.size
	}
	conn, err := f.link.open(f.transport.ecn)
	if err != nil {
		return cli.Usage(err)
	}
	config, err := f.transport.config(conn.Group())
	if err != nil {
		conn.Close()
		return cli.Usage(err)
	}
	config.RepairGroup = conn.RepairGroup()
	if config.Auth, err = cli.GroupAuth(f.authKey); err != nil {
		conn.Close()
		return cli.Usage(err)
	}
	if f.fitSegment {
		config.SegmentSize -= config.Auth.SenderOverhead() // datagrams stay as long as they were
		f.transport.segmentSize = config.SegmentSize
	}
	tracer, stop, err := f.trace.Start(f.progress)
	if err != nil {
		conn.Close()
		return cli.Usage(err)
	}
	defer stop()
	s, err := session.Open(session.Config{Conn: conn, Send: &config, Trace: tracer})
	if err != nil {
		conn.Close()
		return cli.Usage(asFlags(err))
	}
	defer s.Close()
	defer f.progress.Clear()
	f.progress.Line("sending %s, %s, to %v on %s, TTL %d, %s",
		cli.Count(len(f.waiting), "file"), cli.HumanBytes(f.total), conn.Group(), interfaceName(conn), conn.TTL(),
		describeRate(f.transport.rate.auto, float64(f.transport.rate.fixed)))
	err = f.drive(ctx, s)
	if ctx.Err() != nil {
		f.stats(context.WithoutCancel(ctx), s) // of what was sent until then
	}
	return err
}

// drive queues files as there is room, waits until nobody misses anything, and ends.
func (f *fileSender) drive(ctx context.Context, s *session.Session) error {
	if err := f.fill(ctx, s); err != nil {
		return err
	}
	var quiet time.Time   // since when nobody asks; zero: not everything was sent
	var flushed time.Time // when the last series of FLUSH was over; zero: one is under way
	var heard uint64      // the activity until then
	ending := false
	for tick := time.Now().Add(reportEvery); ; {
		if now := time.Now(); !now.Before(tick) {
			tick = now.Add(reportEvery)
			asked, err := f.report(ctx, s)
			if err != nil {
				return err
			}
			if asked && !quiet.IsZero() {
				quiet = now
			}
			switch {
			case ending || f.acks.pending() || quiet.IsZero():
			case now.Sub(quiet) >= f.linger:
				ending = true
				if err := s.End(ctx); err != nil {
					return err
				}
			case !flushed.IsZero() && now.Sub(flushed) >= flushEvery:
				flushed = time.Time{}
				if err := s.Flush(ctx); err != nil {
					return err
				}
			}
		}
		e, err := next(ctx, s, tick)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, context.DeadlineExceeded):
			continue
		case err != nil:
			return err
		}
		switch e.Kind {
		case norm.ObjectSent:
			quiet = time.Time{}
			f.done(e.Object)
			if err := cmp.Or(f.askNext(ctx, s), f.fill(ctx, s)); err != nil {
				return err
			}
		case norm.NodeAcknowledged, norm.NodeSilent, norm.AcksDone:
			if err := cmp.Or(f.takeAck(ctx, s, e), f.fill(ctx, s)); err != nil {
				return err
			}
		case norm.Vacancy:
			if err := f.fill(ctx, s); err != nil {
				return err
			}
		case norm.ObjectPurged:
			f.close(e.Object)
			if e.Err != nil && !errors.Is(e.Err, norm.ErrEvicted) {
				return fmt.Errorf("reading what is sent: %w", e.Err)
			}
		case norm.Flushed:
			flushed = time.Now()
			if len(f.waiting) == 0 && (quiet.IsZero() || f.activity != heard) {
				quiet = flushed
			}
			heard = f.activity
		case norm.Ended:
			return f.finish(ctx, s)
		case norm.NodeCollision:
			f.progress.Line("another node uses our node id %d; give each its own by --node-id", e.Node)
		}
	}
}

// next waits until a time for the next event; the error is context.DeadlineExceeded if there is none.
func next(ctx context.Context, s *session.Session, until time.Time) (norm.Event, error) {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	return s.Next(ctx)
}

// fill queues files until the sender holds as many as it may.
func (f *fileSender) fill(ctx context.Context, s *session.Session) error {
	for len(f.waiting) > 0 && len(f.queued)+len(f.acks.waiting) < 64 {
		o := f.waiting[0]
		file, err := os.Open(o.path)
		if err != nil {
			return err
		}
		h, id, err := s.Send(ctx, norm.Object{Kind: norm.File, Size: o.size, Info: []byte(o.name)}, file)
		if err != nil {
			file.Close()
			if errors.Is(err, norm.ErrTooManyObjects) {
				return nil // more when there is room again
			}
			return cli.Usagef("%s: %w", o.path, err)
		}
		f.open[h], f.queued[h], f.waiting = file, o, f.waiting[1:]
		f.events.Emit("object", cli.Fields{"name": o.name, "size": o.size, "object": id})
	}
	return nil
}

func (f *fileSender) done(h norm.Handle) {
	if o, ok := f.queued[h]; ok {
		delete(f.queued, h)
		f.sent += o.size
		f.events.Emit("sent", cli.Fields{"name": o.name, "size": o.size})
		if len(f.acks.nodes) > 0 {
			f.acks.waiting = append(f.acks.waiting, sentFile{h, o.name})
		}
	}
}

func (f *fileSender) close(h norm.Handle) {
	if file, ok := f.open[h]; ok {
		file.Close()
		delete(f.open, h)
	}
}

// report shows how far the sender is, and returns whether anyone asked for repairs, or got some, since the last report.
func (f *fileSender) report(ctx context.Context, s *session.Session) (asked bool, err error) {
	st, err := s.Stats(ctx)
	if err != nil {
		return false, err
	}
	bytes := min(int64(st.Sender.Data)*int64(f.transport.segmentSize), f.total)
	f.progress.Update("sending", bytes, f.total, cli.Count(st.Sender.NacksHeard, "NACK")+", "+cli.Count(st.Sender.Repairs, "repair"))
	f.events.Emit("progress", cli.Fields{
		"bytes": bytes, "total": f.total, "nacks": st.Sender.NacksHeard, "repairs": st.Sender.Repairs,
		"rate": st.Sender.Rate, "datagram_bytes": st.Sender.Bytes,
	})
	activity := st.Sender.NacksHeard + st.Sender.Repairs
	asked = activity != f.activity
	f.activity = activity
	return asked, nil
}

func (f *fileSender) finish(ctx context.Context, s *session.Session) error {
	if err := f.stats(ctx, s); err != nil {
		return err
	}
	for h := range f.open {
		f.close(h)
	}
	return f.acks.result()
}

// stats tells what was sent.
func (f *fileSender) stats(ctx context.Context, s *session.Session) error {
	st, err := s.Stats(ctx)
	if err != nil {
		return err
	}
	f.progress.Line("sent %s in %d datagrams (%s), at most %d at once, %d of them repairs; %s heard",
		cli.HumanBytes(f.sent), st.Sender.Datagrams, cli.HumanBytes(int64(st.Sender.Bytes)), st.Sender.LargestBurst, st.Sender.Repairs, cli.Count(st.Sender.NacksHeard, "NACK"))
	f.events.Emit("stats", cli.Fields{"sender": cli.Counters(st.Sender), "udp": cli.Counters(st.UDP)})
	return nil
}

// findFiles returns the files named by paths: a file under its own name, those beneath a directory under their path
// from the directory's name on.
func findFiles(paths []string) (files []outgoing, err error) {
	names := make(map[string]string)
	add := func(path, name string, info fs.FileInfo) error {
		name = filepath.ToSlash(name)
		if other, ok := names[name]; ok {
			return fmt.Errorf("%s and %s would both arrive as %q; send them one after the other", other, path, name)
		}
		if _, err := session.FileName([]byte(name)); err != nil {
			return fmt.Errorf("%s cannot be sent under this name: %w", path, err)
		}
		names[name] = path
		files = append(files, outgoing{path, name, info.Size()})
		return nil
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			if !info.Mode().IsRegular() {
				return nil, fmt.Errorf("%s is not a file", path)
			}
			if file, err := os.Open(path); err != nil { // found unreadable now, not when half is sent
				return nil, err
			} else {
				file.Close()
			}
			if err := add(path, filepath.Base(path), info); err != nil {
				return nil, err
			}
			continue
		}
		parent := filepath.Dir(filepath.Clean(path))
		err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			name, err := filepath.Rel(parent, p)
			if err != nil {
				return err
			}
			return add(p, name, info)
		})
		if err != nil {
			return nil, err
		}
	}
	if len(files) == 0 {
		return nil, errors.New("there is no file to send")
	}
	return files, nil
}

// randomNode returns a NormNodeId that no one else is likely to have.
func randomNode() norm.NodeID { return norm.NodeID(1 + rand.Uint32N(0xfffffffe)) }
