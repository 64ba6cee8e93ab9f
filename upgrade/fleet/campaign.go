package fleet

import (
	"fmt"
	"time"

	"github.com/multicast-upgrade/tool/commit"
)

// A State is where a campaign is in its life; see the package documentation.
type State string

const (
	StateDraft     State = "draft"
	StateScheduled State = "scheduled"
	StateRunning   State = "running"
	StateClosed    State = "closed"
)

// A Campaign is what is known of one for good. What changes while it runs is in its [Snapshot].
type Campaign struct {
	ID       commit.CampaignID `json:"id"`
	Revision int64             `json:"revision"` // rises with each change; what changes a draft names it
	State    State             `json:"state"`
	Spec     Spec              `json:"spec"`
	Created  Act               `json:"created"`
	Approved Act               `json:"approved,omitzero"` // by another person than the one who created it
	Closed   time.Time         `json:"closed,omitzero"`
	Restored bool              `json:"restored,omitempty"` // the store came from a backup: it waits for Adopt or Abandon
	Leader   string            `json:"leader,omitempty"`   // the server that leads it, while it is scheduled or runs
}

// An Act is who did something, and when.
type Act struct {
	By string    `json:"by"`
	At time.Time `json:"at"`
}

// A Preview is what a Spec would select now.
type Preview struct {
	Targets  int            `json:"targets"`            // devices that would be targets
	Sites    map[string]int `json:"sites"`              // of them, "" for none
	Excluded map[string]int `json:"excluded,omitempty"` // devices that match but cannot be targets, by cause: "not-approved", "duplicate", "busy", "hardware"
	Busy     []Overlap      `json:"busy,omitempty"`     // the first of those that another campaign has
}

// An Overlap is a device that another campaign has.
type Overlap struct {
	Device   string            `json:"device"`
	Campaign commit.CampaignID `json:"campaign"`
	Name     string            `json:"name"`
}

// An OverlapError is returned when a campaign cannot be started because others have some of its devices.
type OverlapError struct{ Devices []Overlap }

func (e *OverlapError) Error() string {
	first := e.Devices[0]
	return fmt.Sprintf("fleet: device %s is in campaign %s (%s)", first.Device, first.Name, first.Campaign)
}

// A NotLeaderError is returned when another server leads the campaign, or none does for the moment.
type NotLeaderError struct {
	Campaign commit.CampaignID
	Leader   string // its name; empty: none
}

func (e *NotLeaderError) Error() string {
	if e.Leader == "" {
		return fmt.Sprintf("fleet: campaign %s has no leader at the moment; try again", e.Campaign)
	}
	return fmt.Sprintf("fleet: campaign %s is led by server %s", e.Campaign, e.Leader)
}
