package fleet

import (
	"fmt"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/upgrade"
)

// A Cause says in a word why a target is not where it should be. The list is fixed, and shared by API and page.
type Cause string

const (
	CauseNeverJoined Cause = "never-joined"    // nothing was heard of it
	CauseNoData      Cause = "joined-no-data"  // it is there, and has received nothing
	CauseOverruns    Cause = "socket-overruns" // its socket overruns: it is too slow for the rate
	CauseLoss        Cause = "losing"          // the network loses more than LossLimit of what it should hear
	CauseByHTTP      Cause = "no-multicast"    // it has given multicast up, and fetches the rest
	CauseReceiving   Cause = "receiving"       // it is on its way
	CauseVerifying   Cause = "verifying"       // it has everything and has not voted
	CauseRefused     Cause = "refused"         // it voted NO, or was turned away, for its Reason
	CauseDuplicate   Cause = "duplicate"       // its key lives in two agents
	CauseReleased    Cause = "released"        // it gave its stage up, for its Reason
	CauseAborted     Cause = "aborted"         // the decision was ABORT
	CauseNoOutcome   Cause = "no-outcome"      // READY and committed, and it has not said what became of it
	CauseFailed      Cause = "failed"          // rolled back or failed, for its Reason
)

// Causes returns the fixed list.
func Causes() []Cause {
	return []Cause{CauseNeverJoined, CauseNoData, CauseOverruns, CauseLoss, CauseByHTTP, CauseReceiving, CauseVerifying,
		CauseRefused, CauseDuplicate, CauseReleased, CauseAborted, CauseNoOutcome, CauseFailed}
}

// LossLimit is the share of datagrams from which on loss is why a device lags.
const LossLimit = 0.02

// because says reasons of devices to people.
var because = map[commit.Reason]string{
	commit.ReasonSignature: "signature refused", commit.ReasonDiskFull: "disk full", commit.ReasonHardware: "other hardware",
	commit.ReasonProduct: "other product", commit.ReasonExpired: "the release has expired", commit.ReasonSequence: "it runs a newer release",
	commit.ReasonEpoch: "the release is of an older security epoch", commit.ReasonStorage: "its storage failed",
	commit.ReasonTransfer: "neither multicast nor HTTP brings it the images", commit.ReasonVerifyHook: "its verify hook said no",
	commit.ReasonHealth: "its health check said no", commit.ReasonNotTarget: "it shows another key than the one it is listed with",
	commit.ReasonHoldExpired: "no decision came in time", commit.ReasonRevoked: "a key that signed it is revoked",
	commit.ReasonRootExpired: "its root document has expired", commit.ReasonAbandoned: "a person gave it up at the device",
}

func say(r commit.Reason) string {
	if text := because[r]; text != "" {
		return text
	}
	return string(r)
}

// causeOf returns why a target, whose wave has this verdict, is not where it should be, and the same in words; empty if it
// is: READY while votes are open, the new image running after COMMIT. In quiet times, that nothing was received is nothing to be alarmed about.
func causeOf(d upgrade.DeviceState, verdict string, quiet bool) (Cause, string) {
	committed := verdict == commit.Commit.String()
	switch {
	case d.Duplicate:
		return CauseDuplicate, "its key lives in two agents"
	case d.State == commit.StateCommitted:
		return "", ""
	case d.State == commit.StateReady && !committed:
		return "", ""
	case d.State == commit.StateReady:
		return CauseNoOutcome, "READY, and has not said what became of it"
	case d.State == commit.StateRefused:
		return CauseRefused, say(d.Reason)
	case d.State == commit.StateRolledBack || d.State == commit.StateFailed:
		return CauseFailed, say(d.Reason)
	case d.State == commit.StateReleased:
		return CauseReleased, say(d.Reason)
	case d.State == commit.StateAborted:
		return CauseAborted, say(d.Reason)
	case d.State == commit.StateNone:
		return CauseNeverJoined, "never joined"
	case d.State == commit.StateStaged:
		return CauseVerifying, "has everything, and verifies it"
	case d.ByHTTP:
		return CauseByHTTP, "multicast does not reach it; it fetches the rest"
	case d.Heard == 0 && d.Bytes == 0 && quiet:
		return CauseReceiving, "joined; has not said yet how far it is"
	case d.Heard == 0 && d.Bytes == 0:
		return CauseNoData, "joined, no data"
	case d.Overruns > 0 && d.Overruns*50 > d.Heard:
		return CauseOverruns, fmt.Sprintf("socket overruns: %d datagrams", d.Overruns)
	case d.Loss > LossLimit:
		return CauseLoss, fmt.Sprintf("losing %.0f %%", 100*d.Loss)
	}
	return CauseReceiving, "receiving"
}
