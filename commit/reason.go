package commit

// A State is where a device is in a round. The names are those of JSON events, the API and the web page.
type State string

const (
	StateNone       State = ""            // not heard of
	StateAnnounced  State = "announced"   // has shown itself
	StateReceiving  State = "receiving"   // has begun to fetch
	StateStaged     State = "staged"      // has everything, is verifying
	StateReady      State = "ready"       // voted READY
	StateRefused    State = "refused"     // voted NO
	StateCommitted  State = "committed"   // runs the new image: outcome COMMITTED
	StateAborted    State = "aborted"     // was READY or on the way when the wave was aborted
	StateRolledBack State = "rolled-back" // outcome ROLLED_BACK: runs the old image again
	StateFailed     State = "failed"      // outcome FAILED: see the reason
	StateReleased   State = "released"    // outcome RELEASED: gave up its stage, must vote anew
)

// Outcome reports whether s is one that a [Report] can carry.
func (s State) Outcome() bool {
	switch s {
	case StateCommitted, StateRolledBack, StateFailed, StateReleased:
		return true
	}
	return false
}

// A Reason says why, as one of a fixed list that messages, API and web page share. A reason from a newer version is
// kept and shown as it is; [Reason.Known] tells.
type Reason string

const (
	ReasonNone Reason = ""

	// Why a device refuses, before or after reception.
	ReasonSignature     Reason = "signature"     // not enough valid signatures
	ReasonFormat        Reason = "format"        // malformed, or a version or critical extension it does not know
	ReasonExpired       Reason = "expired"       // manifest or announcement
	ReasonSequence      Reason = "sequence"      // below the device's floor
	ReasonEpoch         Reason = "epoch"         // below the device's floor
	ReasonProduct       Reason = "product"       // made for another product
	ReasonHardware      Reason = "hardware"      // made for other hardware
	ReasonDiskFull      Reason = "disk-full"     // no room for the stage
	ReasonStorage       Reason = "storage"       // the storage failed
	ReasonNoKey         Reason = "no-key"        // nothing the device has opens the sealed images
	ReasonTransfer      Reason = "transfer"      // could not be fetched, neither by multicast nor by HTTP
	ReasonVerifyFailed  Reason = "verify-failed" // roots recomputed from storage differ
	ReasonVerifyHook    Reason = "verify-hook"   // the verify hook said no
	ReasonHookTimeout   Reason = "hook-timeout"  // a hook did not end in time
	ReasonBusy          Reason = "busy"          // another campaign is being activated
	ReasonUnimplemented Reason = "not-supported" // needs what the device does not have
	ReasonActivateHook  Reason = "activate-hook" // the activate hook failed
	ReasonHealth        Reason = "health"        // the health hook said no
	ReasonNotActive     Reason = "not-active"    // the new image is not what runs
	ReasonRollbackHook  Reason = "rollback-hook" // the rollback hook failed: look at the device
	ReasonStageChanged  Reason = "stage-changed" // the stage differed when hashed just before activation
	ReasonTooLate       Reason = "too-late"      // not-after had passed
	ReasonWindow        Reason = "window"        // waiting for its maintenance window
	ReasonSuperseded    Reason = "superseded"    // by another campaign
	ReasonAbandoned     Reason = "abandoned"     // by a person at the device
	ReasonHoldExpired   Reason = "hold-expired"  // no decision came while the stage was held
	ReasonDuplicate     Reason = "duplicate"     // one key in two live agents
	ReasonUnsigned      Reason = "unsigned"      // an unsigned vote where votes have to be signed
	ReasonNotTarget     Reason = "not-a-target"  // not on the list
	ReasonNoVote        Reason = "no-vote"       // did not vote before the decision
	ReasonNotHeard      Reason = "not-heard"     // never showed itself
	ReasonNoOutcome     Reason = "no-outcome"    // voted READY and has not told what became of it
	ReasonDeadline      Reason = "deadline"      // the policy was not met by the deadline
	ReasonNotApproved   Reason = "not-approved"  // nobody approved by the deadline
	ReasonQuorum        Reason = "quorum"        // cannot be reached any more
	ReasonSiteQuorum    Reason = "site-quorum"   // cannot be reached any more at a site
	ReasonMustHave      Reason = "must-have"     // a device that must be READY voted NO
	ReasonOperator      Reason = "operator"      // a person decided so
	ReasonMaxFailures   Reason = "max-failures"  // so many devices failed that the brake was put on
	ReasonWaveErrors    Reason = "wave-errors"   // more of a wave failed than may
	ReasonWaveShort     Reason = "wave-short"    // too few of a wave run the new image, and no more can
	ReasonEarlierWave   Reason = "earlier-wave"  // a wave before it was aborted
)

var reasons = []Reason{
	ReasonSignature, ReasonFormat, ReasonExpired, ReasonSequence, ReasonEpoch, ReasonProduct, ReasonHardware,
	ReasonDiskFull, ReasonStorage, ReasonNoKey, ReasonTransfer, ReasonVerifyFailed, ReasonVerifyHook, ReasonHookTimeout, ReasonBusy,
	ReasonUnimplemented, ReasonActivateHook, ReasonHealth, ReasonNotActive, ReasonRollbackHook, ReasonStageChanged, ReasonTooLate, ReasonWindow,
	ReasonSuperseded, ReasonAbandoned, ReasonHoldExpired, ReasonDuplicate, ReasonUnsigned, ReasonNotTarget,
	ReasonNoVote, ReasonNotHeard, ReasonNoOutcome, ReasonDeadline, ReasonNotApproved, ReasonQuorum, ReasonSiteQuorum,
	ReasonMustHave, ReasonOperator, ReasonMaxFailures, ReasonWaveErrors, ReasonWaveShort, ReasonEarlierWave,
}

// Reasons returns the fixed list.
func Reasons() []Reason { return append([]Reason(nil), reasons...) }

// Known reports whether r is on the fixed list.
func (r Reason) Known() bool {
	for _, known := range reasons {
		if r == known {
			return true
		}
	}
	return false
}

// wellFormed reports whether r may stand in a message: at most 32 of a-z and hyphen.
func (r Reason) wellFormed() bool {
	for _, c := range []byte(r) {
		if (c < 'a' || c > 'z') && c != '-' {
			return false
		}
	}
	return len(r) <= 32
}
