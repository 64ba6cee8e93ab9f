package upgrade

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/multicast-upgrade/tool/commit"
)

// String returns the event in words, for people: one line without its time.
func (e Event) String() string {
	switch e.Kind {
	case EventListening:
		return "listens to " + e.Server
	case EventAnnounced:
		return fmt.Sprintf("takes part: release %s, %s, from %s", e.Version, byteSize(e.Total), e.Group)
	case EventRefused:
		return "refuses" + e.why()
	case EventReceiving:
		if e.Bytes > 0 {
			return fmt.Sprintf("receives %s, of which %s are there", byteSize(e.Total), byteSize(e.Bytes))
		}
		return "receives " + byteSize(e.Total)
	case EventSearched:
		return fmt.Sprintf("has %s of %s, and asks for the rest", byteSize(e.Bytes), byteSize(e.Total))
	case EventProgress:
		return fmt.Sprintf("%3.0f %% of %s", 100*float64(e.Bytes)/float64(max(e.Total, 1)), byteSize(e.Total))
	case EventLeafRejected:
		leaf := 0
		if e.Leaf != nil {
			leaf = *e.Leaf
		}
		return fmt.Sprintf("rejects leaf %d of %s, and asks for it again", leaf, e.Name)
	case EventFallback:
		return "fetches the rest by HTTP" + e.why()
	case EventStaged:
		return "has everything, reads it back and hashes it"
	case EventReady:
		return "is READY"
	case EventHeld:
		return "is on hold"
	case EventActivated:
		return "runs the new image"
	case EventRolledBack:
		return "runs the old image again" + e.why()
	case EventFailed:
		return "failed" + e.why()
	case EventReleased:
		return "gave up its stage" + e.why()
	case EventRoot:
		return "follows a newer root" + e.why()
	case EventTrouble:
		return "trouble" + e.why()
	case EventDecision:
		return "the decision is " + e.Verdict + e.why()
	case EventAborted:
		return "the campaign is aborted" + e.why()
	case EventDevice:
		s := fmt.Sprintf("%s is %s%s", e.Device, cmp.Or(e.State, notHeard), e.why())
		if e.State == commit.StateReceiving && e.Total > 0 {
			s += fmt.Sprintf(", %.0f %%", 100*float64(e.Bytes)/float64(e.Total))
		}
		if e.Unsigned {
			s += " (unsigned)"
		}
		return s
	case EventCampaign:
		return e.campaign()
	}
	return string(e.Kind) + e.why()
}

func (e Event) campaign() string {
	switch e.State {
	case CampaignAnnounced:
		return fmt.Sprintf("announces release %s, %s, at %s and from %s", e.Version, byteSize(e.Total), e.Server, e.Group)
	case CampaignSending:
		return "sends " + byteSize(e.Total) + e.why()
	case CampaignSent:
		if e.Seconds > 0 {
			return fmt.Sprintf("has sent everything once, in %.1f s (%.1f Mbit/s), and repairs", e.Seconds, float64(8*e.Total)/e.Seconds/1e6)
		}
		return "has sent everything once, and repairs"
	case CampaignAsking:
		return "waits for a person: enough devices are READY" + e.counts()
	case CampaignHeld:
		return "is on hold" + e.why()
	case CampaignPaused:
		return "is paused" + e.why()
	case CampaignResumed:
		return "goes on"
	case CampaignVoting:
		return fmt.Sprintf("begins wave %d", e.Wave+1)
	case CampaignSoaking:
		return fmt.Sprintf("wave %d has succeeded", e.Wave+1)
	case CampaignConflict:
		return "was shown " + e.Verdict + " by a device, the opposite of what is in the log"
	case CampaignClosed:
		return "is over: " + e.Verdict + e.why() + e.counts()
	}
	return "is " + string(e.State) + e.why() + e.counts()
}

func (e Event) why() string {
	switch {
	case e.Reason != commit.ReasonNone && e.Detail != "":
		return fmt.Sprintf(": %s (%s)", e.Reason, e.Detail)
	case e.Reason != commit.ReasonNone:
		return ": " + string(e.Reason)
	case e.Detail != "":
		return ": " + e.Detail
	}
	return ""
}

func (e Event) counts() string {
	var parts []string
	for _, state := range slices.Sorted(maps.Keys(e.Counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", e.Counts[state], state))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

func byteSize(n int64) string {
	const units = "KMGTPE"
	size, unit := float64(n), -1
	for ; size >= 1024 && unit < len(units)-1; unit++ {
		size /= 1024
	}
	if unit < 0 {
		return fmt.Sprint(n, " bytes")
	}
	return fmt.Sprintf("%.4g %ciB", size, units[unit])
}
