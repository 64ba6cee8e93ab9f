package upgrade

import (
	"encoding/json"
	"time"

	"github.com/multicast-upgrade/tool/commit"
)

// An EventKind names what an Event tells. The names are those of JSON events; more may be added, none changes.
type EventKind string

const (
	// Of an agent.

	EventListening    EventKind = "listening"     // ready to hear of campaigns: Server
	EventHinted       EventKind = "hinted"        // somebody says that there is a campaign, and the server is asked: Group, Detail
	EventAnnounced    EventKind = "announced"     // a campaign was accepted, its documents hold: Version, Total, Group
	EventRefused      EventKind = "refused"       // and will not be installed: Reason, Detail
	EventReceiving    EventKind = "receiving"     // the transfer begins: Bytes that were on disk already, Total
	EventProgress     EventKind = "progress"      // at most once a second: verified Bytes, Total
	EventSearched     EventKind = "searched"      // the device was searched for leaves, the rest is asked for: Bytes that are here, Total
	EventLeafRejected EventKind = "leaf-rejected" // bytes that arrived were wrong, and are asked for again: Name, Leaf
	EventFallback     EventKind = "fallback"      // multicast is of no use, the rest comes by HTTP: Detail says why
	EventStaged       EventKind = "staged"        // all leaves are verified
	EventReady        EventKind = "ready"         // READY is in the log
	EventHeld         EventKind = "held"          // the brake is on: nothing is activated
	EventWaiting      EventKind = "waiting"       // COMMIT is in the log, the maintenance window is closed: Detail says until when
	EventActivated    EventKind = "activated"     // COMMITTED is in the log: the new image runs
	EventRolledBack   EventKind = "rolled-back"   // the old image runs again: Reason
	EventFailed       EventKind = "failed"        // neither could be brought about: Reason
	EventReleased     EventKind = "released"      // the stage was given up: Reason
	EventRoot         EventKind = "root"          // the device follows a newer root document: Detail
	EventExamined     EventKind = "examined"      // the server has asked what multicast is like, and is told: Group, Detail
	EventTrouble      EventKind = "trouble"       // something that passes, such as a server out of reach: Detail

	// Of an agent and of a campaign.

	EventDecision EventKind = "decision" // Verdict, Reason
	EventAborted  EventKind = "aborted"  // ABORT, or the campaign is over: Reason

	// Of a campaign.

	EventDevice   EventKind = "device"   // a device changed: Device, State, Reason
	EventCampaign EventKind = "campaign" // the campaign changed: State, Counts
)

// An Event is something that happened to an upgrade, at a device or at the server. Fields that an event does not have
// are zero, and absent from its JSON form. Fields are only ever added.
type Event struct {
	Time     time.Time     `json:"time"`
	Kind     EventKind     `json:"event"`
	Campaign string        `json:"campaign,omitempty"` // its id in hexadecimal
	Wave     uint32        `json:"wave,omitempty"`
	Device   string        `json:"device,omitempty"`
	State    commit.State  `json:"state,omitempty"`
	Reason   commit.Reason `json:"reason,omitempty"`
	Bytes    int64         `json:"bytes,omitempty"` // verified or sent, of Total
	Total    int64         `json:"total,omitempty"`
	Fetched  int64         `json:"fetched,omitempty"` // bytes that came over the network and were new, in this run of the agent

	Version  string `json:"version,omitempty"` // of the release, for people
	Name     string `json:"name,omitempty"`    // of an image
	Path     string `json:"path,omitempty"`
	Leaf     *int   `json:"leaf,omitempty"` // its index in the image
	Verdict  string `json:"verdict,omitempty"`
	Unsigned bool   `json:"unsigned,omitempty"` // what the device said is not signed
	Group    string `json:"group,omitempty"`    // address and port
	Server   string `json:"server,omitempty"`
	Detail   string `json:"detail,omitempty"` // a sentence for people

	Counts  map[commit.State]int `json:"counts,omitempty"` // targets in each state
	Seconds float64              `json:"seconds,omitempty"`
}

// JSON returns the event as one line without its newline.
func (e Event) JSON() []byte {
	b, err := json.Marshal(e)
	if err != nil {
		panic(err) // no field can fail
	}
	return b
}
