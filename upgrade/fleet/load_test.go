package fleet_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/internal/fleettest"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/api"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
	"github.com/multicast-upgrade/tool/upgrade/web"
)

var (
	loadDevices = flag.Int("fleet.devices", 1000, "devices that BenchmarkFleet simulates")
	loadConns   = flag.Int("fleet.connections", 15_000, "devices with a connection of their own that BenchmarkFleet simulates, of those")
)

const (
	// pollsPerConn is how many devices share a connection in the large crowd. A server takes 250 streams of one, but net/http looks
	// through all of them for each frame that it writes.
	pollsPerConn = 50
	// pollTime is how long a poll waits: as long as a server lets it.
	pollTime = time.Minute
	// spareFiles is how many files a process may have open beside its connections.
	spareFiles = 200
)

// BenchmarkFleet measures a server under all its devices at once, over HTTP/2 and TLS on loopback: each is held in a long
// poll, all are told of a campaign, say hello, and vote READY, signed; a person looks at the campaign meanwhile. Server,
// devices and person are a process each. See docs/fleet-scale.md.
//
//	go test ./upgrade/fleet -run - -bench Fleet -benchtime 1x -fleet.devices 100000 -timeout 60m
func BenchmarkFleet(b *testing.B) {
	limit := fileLimit()
	single := min(*loadConns, *loadDevices, limit-spareFiles)
	fmt.Printf("file descriptors: %d for each process, so %d devices can have a connection of their own; the others share one by %d\n", limit, single, pollsPerConn)
	var rows []figures
	for _, crowd := range []struct {
		name       string
		n, perConn int
	}{{"shared", *loadDevices, pollsPerConn}, {"single", single, 1}} {
		for _, db := range []string{"sqlite", "postgres"} {
			b.Run(crowd.name+"/"+db, func(b *testing.B) {
				if crowd.n/crowd.perConn > limit-spareFiles {
					b.Fatalf("%d connections are needed and %d files may be open", crowd.n/crowd.perConn, limit)
				}
				for b.Loop() {
					rows = append(rows, load(b, db, crowd.n, crowd.perConn))
				}
			})
		}
	}
	printFigures(rows)
}

// figures are what was measured of one crowd on one database.
type figures struct {
	name                 string
	devices, connections int
	polls                int                 // that waited when the campaign was started
	held                 time.Duration       // from the first device's start until all polls waited
	base, waiting, peak  uint64              // resident bytes of the server's process: before devices came, with all polls, and at most
	inUse                uint64              // heap and stacks that the polls take
	publish              time.Duration       // from the word of a person to the announcement
	steps                [3][3]time.Duration // told, hello, READY: median, 99 %, all; from the announcement, and from the word
	troubles             [3]int              // tries that failed and were repeated, by then
	cpu                  [3]time.Duration    // that the server's process used for them
	page, rest           [3][3]time.Duration // how long a person waited for an answer: median, 99 %, all; while they were told, and so on
}

// load has so many devices come to a server, and returns what that was like.
func load(b *testing.B, db string, n, perConn int) figures {
	f := figures{name: db, devices: n, connections: (n + perConn - 1) / perConn}
	url := fleettest.Databases[db](b)
	s := newLoadServer(b, url, n)
	defer s.stop()
	var sampling sync.WaitGroup
	defer sampling.Wait()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()

	debug.FreeOSMemory()
	f.base = resident()
	before := inUse()
	sampling.Go(func() {
		for tick := time.NewTicker(100 * time.Millisecond); ctx.Err() == nil; <-tick.C {
			f.peak = max(f.peak, resident())
		}
	})
	crowd := startProcess(b, "devices", crowd{s.url, n, perConn, s.release.Signed})
	begun := time.Now()
	for f.polls = s.fleet.Waiting(); f.polls < n; f.polls = s.fleet.Waiting() {
		// From then on some are always between two polls.
		if took := time.Since(begun); took > pollTime && f.polls > n*98/100 {
			break
		} else if took > 5*time.Minute {
			b.Fatalf("%d of %d polls wait", f.polls, n)
		}
		time.Sleep(20 * time.Millisecond)
	}
	f.held = time.Since(begun)
	f.waiting, f.inUse = resident(), inUse()-before

	person := startProcess(b, "person", outlook{s.url, s.token, "/campaigns/" + s.campaign.ID.String(), "/api/v1/campaigns/" + s.campaign.ID.String() + "/status"})
	changes := s.fleet.Subscribe()
	defer changes.Close()
	asked, cpu := time.Now(), cpuTime()
	if _, err := s.fleet.Start(ctx, s.campaign.ID, s.campaign.Revision, "alice"); err != nil {
		b.Fatal(err)
	}
	announced := announcement(b, changes)
	f.publish = announced.Sub(asked)
	f.steps[0], f.troubles[0] = crowd.milestone(b, announced)
	f.cpu[0] = cpuTime() - cpu
	phases := [3][2]time.Time{{asked, time.Now()}}
	crowd.tell(b, "prepare")
	for i, word := range []string{"hello", "vote"} {
		begun, cpu := time.Now(), cpuTime()
		f.steps[i+1], f.troubles[i+1] = crowd.tell(b, word)
		phases[i+1], f.cpu[i+1] = [2]time.Time{begun, time.Now()}, cpuTime()-cpu
	}
	var sights [2]sight
	person.end(b, &sights)
	for i, phase := range phases {
		f.page[i], f.rest[i] = sights[0].within(phase[0], phase[1]), sights[1].within(phase[0], phase[1])
	}
	crowd.end(b, nil)
	cancel()
	sampling.Wait()
	s.stop()
	if ready := readyInLog(b, url, s.campaign.ID); ready != n {
		b.Errorf("%d READY in the log, and %d were confirmed", ready, n)
	}
	f.report(b)
	return f
}

// announcement returns when the campaign was announced.
func announcement(b *testing.B, changes *fleet.Subscription) time.Time {
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	for {
		c, err := changes.Next(ctx)
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range c.Events {
			if e.Kind == upgrade.EventCampaign && e.State == upgrade.CampaignAnnounced {
				return e.Time
			}
		}
	}
}

// readyInLog opens the database as another server would and counts.
func readyInLog(b *testing.B, url string, id commit.CampaignID) int {
	st, err := store.Open(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	c, err := commit.OpenCoordinator(commit.CoordinatorConfig{Key: fleettest.ServerKey, Public: fleettest.ServerKey.Public(),
		Open: func(replay func([]byte) error) (commit.Log, error) { return nil, st.ReadLog(b.Context(), id, replay) }})
	if err != nil {
		b.Fatal(err)
	}
	return c.Status().Devices[commit.StateReady]
}

// A loadServer is a server as normsend serve has it, with a draft for all its devices.
type loadServer struct {
	fleet    *fleet.Server
	release  store.Release
	campaign store.Campaign
	url      string
	token    string // of a person
	stop     func()
}

func newLoadServer(b *testing.B, db string, n int) *loadServer {
	ctx, cancel := context.WithCancel(b.Context())
	st, err := store.Open(ctx, db)
	if err != nil {
		b.Fatal(err)
	}
	s := &loadServer{}
	var work sync.WaitGroup
	var srv *http.Server
	s.stop = sync.OnceFunc(func() {
		cancel()
		if srv != nil {
			srv.Close()
		}
		work.Wait()
		st.Close()
	})
	fail := func(err error) {
		if err != nil {
			s.stop()
			b.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	fail(err)
	s.url = "https://" + l.Addr().String()
	cfg := fleettest.Config(st, new(fleettest.Network))
	cfg.URL = s.url
	s.fleet, err = fleet.Open(ctx, cfg)
	fail(err)
	site, err := web.New(web.Config{Fleet: s.fleet})
	fail(err)
	mux := http.NewServeMux()
	mux.Handle("/v1/", s.fleet.Handler())
	mux.Handle("/api/", api.New(api.Config{Fleet: s.fleet, Key: fleettest.ServerKey.Public(), URL: s.url, Version: "test"}))
	mux.Handle("/", site)
	secure, err := discovery.ServerTLS(fleettest.ServerKey, []string{"127.0.0.1"}, time.Now())
	fail(err)

	fail(enrolAll(ctx, st, db, n))
	_, s.token, err = st.CreateToken(ctx, "vera", store.RoleViewer, fleettest.By("alice"))
	fail(err)
	image := fleettest.Image(1000)
	s.release, err = s.fleet.AddRelease(ctx, fleettest.Release(b, fleettest.ReleaseKey, "fw", image, nil), "alice")
	fail(err)
	fail(s.fleet.AddImage(ctx, s.release.ID, "fw", bytes.NewReader(image), "alice"))
	s.campaign, err = s.fleet.Create(ctx, "load", s.release.ID, settings(func(set *store.CampaignSettings) { set.Policy.Waves[0].Ask = true }), "alice")
	fail(err)

	srv = discovery.NewServer(mux, secure)
	srv.ErrorLog = log.New(io.Discard, "", 0) // of connections; the devices count what they have to try again
	srv.BaseContext = func(net.Listener) context.Context { return ctx }
	work.Go(func() { s.fleet.Run(ctx) })
	work.Go(func() { srv.ServeTLS(l, "", "") })
	return s
}

// enrolAll makes the registry as it is when all devices are enrolled. Their keys are written past the store, which approves one
// at a time, each with its entry in the audit trail.
func enrolAll(ctx context.Context, st *store.Store, url string, n int) error {
	seen := make([]store.Sighting, n)
	for i := range seen {
		seen[i] = fleettest.Sighting(deviceName(i))
	}
	if err := st.SeeDevices(ctx, seen...); err != nil {
		return err
	}
	driver := "pgx"
	if file, ok := strings.CutPrefix(url, "sqlite:"); ok {
		driver, url = "sqlite", file+"?_pragma=busy_timeout(10000)"
	}
	db, err := sql.Open(driver, url)
	if err != nil {
		return err
	}
	defer db.Close()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	enrol, err := tx.PrepareContext(ctx, `UPDATE devices SET public_key = $1, key_state = 'approved' WHERE id = $2`)
	if err != nil {
		return err
	}
	for _, s := range seen {
		if _, err := enrol.ExecContext(ctx, deviceKey(s.Device).Public().String(), s.Device); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// loadEnv says which process this is, of those that a benchmark starts: see TestMain.
const loadEnv = "FLEET_TEST_PROCESS"

// runProcess is main of such a process, which speaks JSON on standard input and output.
func runProcess(role string) error {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	switch role {
	case "devices":
		return runDevices(in, out)
	case "person":
		return runPerson(in, out)
	}
	return fmt.Errorf("%s: no such process", role)
}

// A process is one that was started by startProcess.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

func startProcess(b *testing.B, role string, task any) *process {
	p := &process{cmd: exec.Command(os.Args[0])}
	// What collecting garbage costs the devices is not of interest, and takes time from the server on the same cores.
	p.cmd.Env = append(os.Environ(), "GOGC=400", "GODEBUG=gcshrinkstackoff=1", loadEnv+"="+role)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		p.in, err = p.cmd.StdinPipe()
	}
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	p.out = json.NewDecoder(out)
	b.Cleanup(func() { p.cmd.Process.Kill(); p.cmd.Wait() })
	p.say(b, task)
	return p
}

func (p *process) say(b *testing.B, what any) {
	if err := json.NewEncoder(p.in).Encode(what); err != nil {
		b.Fatal(err)
	}
}

func (p *process) hear(b *testing.B, what any) {
	if err := p.out.Decode(what); err != nil {
		b.Fatalf("the process %s has ended: %v", p.cmd.Env[len(p.cmd.Env)-1], err)
	}
}

// tell gives all devices a word, and returns how long they took to follow it.
func (p *process) tell(b *testing.B, word string) (took [3]time.Duration, trouble int) {
	since := time.Now()
	p.say(b, word)
	return p.milestone(b, since)
}

// milestone waits for the next one, and returns how long after a moment it was.
func (p *process) milestone(b *testing.B, since time.Time) (took [3]time.Duration, trouble int) {
	var m milestone
	p.hear(b, &m)
	for text, n := range m.Trouble {
		b.Logf("%d times: %s", n, text)
		trouble += n
	}
	for i, at := range []time.Time{m.Median, m.Most, m.Last} {
		took[i] = max(0, at.Sub(since))
	}
	return took, trouble
}

// end has the process end, and hears its last words.
func (p *process) end(b *testing.B, last any) {
	p.in.Close()
	if last != nil {
		p.hear(b, last)
	}
	if err := p.cmd.Wait(); err != nil {
		b.Errorf("%s: %v", p.cmd.Env[len(p.cmd.Env)-1], err)
	}
}

// resident returns the memory of this process that is in RAM, or, where the system does not tell, what its runtime has mapped.
func resident() uint64 {
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		var size, pages uint64
		if _, err := fmt.Sscan(string(text), &size, &pages); err == nil {
			return pages * uint64(os.Getpagesize())
		}
	}
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64() - s[1].Value.Uint64()
}

// inUse returns what heap and stacks take.
func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

func (f figures) report(b *testing.B) {
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(f.perPoll()), "B/poll")
	b.ReportMetric(mebi(f.peak), "MiB-peak")
	b.ReportMetric(f.steps[0][2].Seconds(), "s-told")
	b.ReportMetric(f.steps[2][2].Seconds(), "s-READY")
	b.ReportMetric(milli(max(f.page[0][2], f.page[1][2], f.page[2][2])), "ms-page-max")
	b.ReportMetric(milli(max(f.rest[0][2], f.rest[1][2], f.rest[2][2])), "ms-REST-max")
}

// perPoll is what a poll that waits adds to the resident memory of the server's process, in bytes.
func (f figures) perPoll() int64 { return (int64(f.waiting) - int64(f.base)) / int64(f.devices) }

func mebi(n uint64) float64         { return float64(n) / (1 << 20) }
func milli(d time.Duration) float64 { return d.Seconds() * 1000 }

// printFigures prints a table with a column for each run.
func printFigures(all []figures) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	row := func(what, promised string, of func(f figures) string) {
		fmt.Fprintf(w, "%s\t%s", what, promised)
		for _, f := range all {
			fmt.Fprintf(w, "\t%s", of(f))
		}
		fmt.Fprintln(w)
	}
	seconds := func(what, promised string, of func(f figures) time.Duration) {
		row(what, promised, func(f figures) string { return fmt.Sprintf("%.2f s", of(f).Seconds()) })
	}
	row("", "promised", func(f figures) string { return f.name })
	row("devices", "", func(f figures) string { return fmt.Sprint(f.devices) })
	row("TLS connections", "", func(f figures) string { return fmt.Sprint(f.connections) })
	row("polls that wait", "", func(f figures) string { return fmt.Sprint(f.polls) })
	seconds("  all of them after", "", func(f figures) time.Duration { return f.held })
	row("server's memory with them", "3072 MiB", func(f figures) string { return fmt.Sprintf("%.0f MiB", mebi(f.waiting)) })
	row("  for each poll", "", func(f figures) string { return fmt.Sprintf("%d B", f.perPoll()) })
	row("  of it heap and stacks", "", func(f figures) string { return fmt.Sprintf("%d B", f.inUse/uint64(f.devices)) })
	row("  at most in the whole run", "", func(f figures) string { return fmt.Sprintf("%.0f MiB", mebi(f.peak)) })
	seconds("start: published after", "", func(f figures) time.Duration { return f.publish })
	seconds("told after publishing: half", "", func(f figures) time.Duration { return f.steps[0][0] })
	seconds("  99 %", "", func(f figures) time.Duration { return f.steps[0][1] })
	seconds("  all", "5 s", func(f figures) time.Duration { return f.steps[0][2] })
	seconds("  server's CPU, from start", "", func(f figures) time.Duration { return f.cpu[0] })
	seconds("hello: all", "", func(f figures) time.Duration { return f.steps[1][2] })
	seconds("  server's CPU", "", func(f figures) time.Duration { return f.cpu[1] })
	seconds("READY accepted and durable: half", "", func(f figures) time.Duration { return f.steps[2][0] })
	seconds("  all", "60 s", func(f figures) time.Duration { return f.steps[2][2] })
	row("  rate", "", func(f figures) string { return fmt.Sprintf("%.0f/s", float64(f.devices)/f.steps[2][2].Seconds()) })
	seconds("  server's CPU", "", func(f figures) time.Duration { return f.cpu[2] })
	row("tries that failed: told, hello, READY", "", func(f figures) string { return fmt.Sprint(f.troubles) })
	for _, look := range []struct {
		what string
		of   func(f figures) [3][3]time.Duration
	}{
		{"campaign page", func(f figures) [3][3]time.Duration { return f.page }},
		{"REST status", func(f figures) [3][3]time.Duration { return f.rest }},
	} {
		for i, phase := range []string{"told", "hello", "READY"} {
			row(look.what+", "+phase+": median, 99 %, at most", "300 ms", func(f figures) string {
				took := look.of(f)[i]
				return fmt.Sprintf("%.0f, %.0f, %.0f ms", milli(took[0]), milli(took[1]), milli(took[2]))
			})
		}
	}
}
