package fleet_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/internal/fleettest"
	"github.com/multicast-upgrade/tool/internal/pgtest"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// killEnv names the database that a child process serves until it is killed.
const killEnv = "FLEET_TEST_DB"

func TestMain(m *testing.M) {
	if db := os.Getenv(killEnv); db != "" {
		fmt.Fprintln(os.Stderr, serveUntilKilled(db))
		os.Exit(1)
	}
	if role := os.Getenv(loadEnv); role != "" {
		if err := runProcess(role); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", role, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	if err := pgtest.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func serveUntilKilled(db string) error {
	st, err := store.Open(context.Background(), db)
	if err != nil {
		return err
	}
	s, err := fleet.Open(context.Background(), fleettest.Config(st, new(fleettest.Network)))
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + l.Addr().String())
	go discovery.NewServer(s.Handler(), nil).Serve(l)
	return s.Run(context.Background())
}

// A server that is killed without warning has lost no vote that it confirmed.
func TestKillLosesNothingConfirmed(t *testing.T) {
	fleettest.OnBoth(t, func(t *testing.T, database func(testing.TB) string) { killLosesNothingConfirmed(t, database(t)) })
}

func killLosesNothingConfirmed(t *testing.T, db string) {
	const devices, enough = 300, 60
	st, err := store.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	s, err := fleet.Open(t.Context(), fleettest.Config(st, new(fleettest.Network)))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{T: t, store: st, image: fleettest.Image(1000)}
	r.upload(&server{s, nil})
	r.enrol(names(devices)...)
	c := r.create(&server{s, nil}, "spring", func(set *store.CampaignSettings) { set.Policy.Waves[0].Ask = true })
	r.start(&server{s, nil}, c)
	rel, err := st.Release(t.Context(), r.release)
	if err := errors.Join(err, st.Close()); err != nil {
		t.Fatal(err)
	}

	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), killEnv+"="+db)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	defer child.Process.Kill()
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxConnsPerHost: 16}
	defer transport.CloseIdleConnections()
	var mu sync.Mutex // guards confirmed
	confirmed := map[string]bool{}
	var work sync.WaitGroup
	for _, name := range names(devices) {
		work.Go(func() {
			client, err := discovery.NewClient(strings.TrimSpace(url), transport)
			if err != nil {
				t.Error(err)
				return
			}
			v := commit.Vote{Round: commit.Round{Campaign: c.ID, Manifest: r.release}, Roots: []commit.Digest{commit.Digest(rel.Manifest.Images[0].Root)},
				Device: name, Ready: true, Counter: 1}
			signed, err := v.Sign(fleettest.Key(manifest.RoleDevice, name))
			for failures := 0; err == nil && failures < 100; failures++ {
				switch err := client.Vote(t.Context(), discovery.Statement{Device: name, Signed: true, Body: signed, Campaign: c.ID.String()}); {
				case err == nil:
					mu.Lock()
					defer mu.Unlock()
					if confirmed[name] = true; len(confirmed) == enough {
						child.Process.Kill()
					}
					return
				case !errors.As(err, new(*discovery.Refusal)):
					return // it is gone
				}
				time.Sleep(50 * time.Millisecond) // the campaign has no leader yet
			}
		})
	}
	work.Wait()
	if len(confirmed) < enough {
		t.Fatalf("%d votes were confirmed, want %d before the server is killed", len(confirmed), enough)
	}

	if st, err = store.Open(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	log, err := commit.OpenCoordinator(commit.CoordinatorConfig{Key: fleettest.ServerKey, Public: fleettest.ServerKey.Public(),
		Open: func(replay func([]byte) error) (commit.Log, error) { return nil, st.ReadLog(t.Context(), c.ID, replay) }})
	if err != nil {
		t.Fatal(err)
	}
	for name := range confirmed {
		if d, ok := log.Device(name); !ok || d.State != commit.StateReady {
			t.Errorf("%s was confirmed and is %q", name, d.State)
		}
	}
	t.Logf("%d of %d votes were confirmed before the kill", len(confirmed), devices)
}
