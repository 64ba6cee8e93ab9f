package commit_test

import (
	"fmt"
	"log"
	"time"

	"github.com/multicast-upgrade/tool/commit"
)

// A whole commit with two devices, in memory. A program keeps the logs in files (package filestore), carries the
// messages over a network, and runs hooks where this prints.
func Example() {
	check := func(err error) {
		if err != nil {
			log.Fatal(err)
		}
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

	server, err := commit.OpenCoordinator(commit.CoordinatorConfig{
		Key: serverKey, Public: serverKey.Public(), Open: new(memoryLog).open,
	})
	check(err)
	check(server.Start(commit.Plan{
		Campaign: campaign, Manifest: release, Roots: []commit.Digest{image},
		Targets: []commit.Target{
			{Device: "phone-1", Key: deviceKey("phone-1").Public()},
			{Device: "phone-2", Key: deviceKey("phone-2").Public()},
		},
		Waves: []commit.Policy{{Quorum: 100, Deadline: now.Add(time.Hour)}},
	}))

	var devices []*commit.Participant
	for _, id := range []string{"phone-1", "phone-2"} {
		p, err := commit.OpenParticipant(now, commit.ParticipantConfig{
			Device: id, Key: deviceKey(id), Server: serverKey.Public(), Boot: "boot-1", Open: new(memoryLog).open,
		})
		check(err)
		devices = append(devices, p)
		check(p.Stage(now, commit.Stage{Round: round, Roots: []commit.Digest{image}, Sequence: 1}))
	}

	for range 3 { // until nobody has anything to do or to say
		for i, p := range devices {
			for job, ok := p.Next(now); ok; job, ok = p.Next(now) {
				fmt.Printf("phone-%d: %s\n", i+1, job.Task)
				check(p.Finish(now, job, commit.Result{Roots: []commit.Digest{image}}))
			}
			messages, err := p.Messages()
			check(err)
			refused, err := server.Receive(now, messages...)
			check(err)
			for j, m := range messages {
				check(refused[j])
				check(p.Acknowledge(now, m.Counter))
			}
			answer, err := server.Answer(now, round.Campaign, round.Wave)
			check(err)
			if _, busy := p.Holds(); busy && answer.Verdict != commit.Undecided {
				check(p.Decide(now, answer.Signed))
			}
		}
		for e := range server.Events() {
			switch e.Kind {
			case commit.EventDevice:
				fmt.Printf("server: %s is %s\n", e.Device, e.State)
			case commit.EventDecided:
				fmt.Println("server:", e.Verdict)
			}
		}
	}
	fmt.Println("settled:", server.Settled())
	// Output:
	// phone-1: verify
	// phone-2: verify
	// server: phone-1 is ready
	// server: phone-2 is ready
	// server: COMMIT
	// phone-2: ask-brake
	// phone-2: check-stage
	// phone-2: activate
	// phone-2: health
	// server: phone-2 is committed
	// phone-1: ask-brake
	// phone-1: check-stage
	// phone-1: activate
	// phone-1: health
	// server: phone-1 is committed
	// settled: true
}
