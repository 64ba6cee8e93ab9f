package store_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/internal/pgtest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// writerEnv makes the test program the one that TestKilledLeaderLosesNothing kills.
const writerEnv = "STORE_TEST_WRITER"

// batch returns the n-th batch of the writer: some records, and a decision of wave n.
func batch(n int) (recs [][]byte) {
	for i := range n%5 + 1 {
		recs = append(recs, record(fmt.Sprint(n, ".", i)))
	}
	return append(recs, decided(uint32(n)))
}

// writeUntilKilled leads campaign 1 of a database, appends batches, and prints the number of each once it is durable.
func writeUntilKilled() {
	fail := func(err error) {
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	ctx := context.Background()
	s, err := store.Open(ctx, os.Getenv(writerEnv))
	fail(err)
	lease, err := s.TakeLease(ctx, campaignID(1), "writer", start, time.Hour)
	fail(err)
	n := 0
	log, err := s.CampaignState(ctx, lease).OpenLog(func(rec []byte) error {
		if string(rec) == string(decided(uint32(n))) {
			n++
		}
		return nil
	})
	fail(err)
	for ; ; n++ {
		fail(log.Append(batch(n)...))
		fmt.Println(n)
	}
}

func TestKilledLeaderLosesNothing(t *testing.T) {
	url := newSQLite(t)
	s := open(t, url)
	c := running(t, s, 1)
	rng := rand.New(rand.NewPCG(1, 2))
	lives := 12
	if testing.Short() {
		lives = 3
	}
	told := -1 // the last batch that the writer was told is durable
	for range lives {
		writer := exec.CommandContext(t.Context(), os.Args[0])
		writer.Env = append(os.Environ(), writerEnv+"="+url)
		out := must(writer.StdoutPipe())(t)
		wantNil(t, writer.Start())
		lines := bufio.NewScanner(out)
		for left := 1 + rng.IntN(40); lines.Scan(); left-- {
			n, err := strconv.Atoi(strings.TrimSpace(lines.Text()))
			if err != nil {
				t.Fatal(lines.Text())
			}
			told = n
			if left == 0 {
				wantNil(t, writer.Process.Kill())
			}
		}
		writer.Wait()
		lease := must(s.TakeLease(t.Context(), c.ID, "reader", start.Add(2*time.Hour), time.Minute))(t)
		var got [][]byte
		must(s.CampaignState(t.Context(), lease).OpenLog(func(rec []byte) error { got = append(got, append([]byte(nil), rec...)); return nil }))(t)
		wantNil(t, s.DropLease(t.Context(), lease))
		batches := 0
		for len(got) > 0 {
			for _, want := range batch(batches) {
				if len(got) == 0 || string(got[0]) != string(want) {
					t.Fatalf("batch %d is not whole", batches)
				}
				got = got[1:]
			}
			batches++
		}
		if batches <= told {
			t.Fatalf("%d batches, but %d were told to be durable", batches, told+1)
		}
		if decisions := must(s.Decisions(t.Context(), c.ID))(t); len(decisions) != batches {
			t.Fatalf("%d decisions in %d batches", len(decisions), batches)
		}
	}
	if told < lives {
		t.Errorf("%d batches in %d lives", told+1, lives)
	}
}

func TestMain(m *testing.M) {
	if os.Getenv(writerEnv) != "" {
		writeUntilKilled()
	}
	code := m.Run()
	if err := pgtest.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
