package fleet

import (
	"time"

	"github.com/multicast-upgrade/tool/commit"
)

// A Snapshot is where a campaign is now.
type Snapshot struct {
	Campaign commit.CampaignID `json:"campaign"`
	At       time.Time         `json:"at"`
	State    State             `json:"state"`
	Phase    commit.State      `json:"phase,omitempty"`   // of a running one: waiting, announced, sending, sent, asking, held, closed
	Deadline time.Time         `json:"deadline,omitzero"` // of votes
	Verdict  string            `json:"verdict,omitempty"`
	Reason   commit.Reason     `json:"reason,omitempty"` // why ABORT
	Asking   bool              `json:"asking,omitempty"` // the policy is met, a person is asked
	Held     bool              `json:"held,omitempty"`

	Targets   int                  `json:"targets"`
	Joined    int                  `json:"joined"` // have shown themselves
	Ready     int                  `json:"ready"`
	Committed int                  `json:"committed"`
	Counts    map[commit.State]int `json:"counts"`             // targets in each state
	Causes    map[Cause]int        `json:"causes"`             // laggards of each cause
	Laggards  []Laggard            `json:"laggards,omitempty"` // the first MaxLaggards, in the order of the list

	Sent      int64         `json:"sent"`  // bytes of the images sent once
	Total     int64         `json:"total"` // bytes of the images
	Rate      float64       `json:"rate"`  // bits per second it may send with
	Loss      float64       `json:"loss"`  // mean share of datagrams lost, of the devices that receive
	WorstLoss float64       `json:"worst_loss"`
	Nacks     uint64        `json:"nacks"` // heard since this server leads the campaign
	Left      time.Duration `json:"left"`  // until everything is sent once, at this rate; 0: it is, or nobody knows
}

// MaxLaggards bounds the list in a [Snapshot]; [Server.CampaignDevices] has all.
const MaxLaggards = 100

// A Cause says in a word why a device is not where it should be. The list is fixed, and shared by API and page.
type Cause string

const (
	CauseNeverJoined Cause = "never-joined"    // nothing was heard of it since the campaign began
	CauseNoData      Cause = "joined-no-data"  // it is there, and has received nothing
	CauseLoss        Cause = "losing"          // it loses more than 2 % of the datagrams
	CauseOverruns    Cause = "socket-overruns" // its socket overruns: the device is too slow for the rate
	CauseByHTTP      Cause = "no-multicast"    // it has given multicast up and fetches the rest
	CauseReceiving   Cause = "receiving"       // it is on its way
	CauseVerifying   Cause = "verifying"       // it has everything and has not voted
	CauseRefused     Cause = "refused"         // it voted NO, or was turned away: see Reason
	CauseDuplicate   Cause = "duplicate"       // its key lives in two agents
	CauseNoOutcome   Cause = "no-outcome"      // READY, committed, and not heard of since
	CauseFailed      Cause = "failed"          // rolled back or failed: see Reason
	CauseAborted     Cause = "aborted"         // by the decision
)

// A Laggard is a target that is not where it should be, and why.
type Laggard struct {
	Device   string        `json:"device"`
	Site     string        `json:"site,omitempty"`
	State    commit.State  `json:"state,omitempty"`
	Cause    Cause         `json:"cause"`
	Reason   commit.Reason `json:"reason,omitempty"` // such as disk-full, signature, hardware
	Detail   string        `json:"detail"`           // for people: "losing 12 %"
	Bytes    int64         `json:"bytes"`
	Total    int64         `json:"total"`
	Loss     float64       `json:"loss,omitempty"`
	Overruns uint64        `json:"overruns,omitempty"`
}
