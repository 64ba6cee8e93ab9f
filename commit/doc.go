// Package commit is the two-phase commit that decides when a firmware image becomes active: no device activates before
// a durable, signed COMMIT of its wave exists, whoever crashes and whenever.
//
//	device                          server
//	Participant                     Coordinator
//	stage verified, logs vote
//	        ---- Vote (READY, NO) ---->      logs vote, applies the Policy,
//	                                         logs COMMIT or ABORT, then signs it
//	        <------- Decision ---------
//	logs it, waits for its time
//	        ---- asks the brake ------>
//	        <-- Brake (HOLD, RESUME) --
//	re-hashes the stage, logs ACTIVATING,
//	runs hooks, logs the outcome
//	        ---- Report (COMMITTED, ROLLED_BACK, FAILED, RELEASED) ---->   logs it, acknowledges
//
// # Calling contract
//
// [Coordinator] and [Participant] have no goroutines, no sockets, no clock and no randomness: time is an argument, and
// what they want done they return. Their one call outward is [Log.Append], which returns when the records are on stable
// storage; package filestore is such a log. Everything they sign or ask for is covered by records appended before, so a
// crash between any two calls loses nothing: open the machine again from its log, and it asks for what was open.
// After an error of the log a machine does nothing more ([ErrLog]), because what the disk holds is not known until the
// log is read again. Methods must not be called concurrently.
//
// Times passed to a Coordinator are UTC by the server's clock. A Participant is passed readings of a clock that only has
// to run forward, and keeps its own [Clock] of what time it surely is.
//
// # Hooks
//
// A crash may come between a record and what it announces, so every job can be handed out again after a restart, and
// hooks have to bear that. A new boot id after ACTIVATING means that the activate hook has restarted the system, or that
// the power went before the hook ran; only the device can tell. So the health check answers [ReasonNotActive] if the new
// image is not what runs, and activation is begun again, at most three times.
//
// # Words
//
//	campaign  one image for one list of targets; a random 128-bit id
//	wave      a part of the targets that has its own decision; a campaign has one or more, counted from 0, and each is
//	          decided when enough devices of the one before it run the new image
//	seat      the server's word on which wave a device is in
//	round     one two-phase commit: campaign, wave and the digest of the manifest
//	target    a device of the frozen list; quorum is always a share of that list
//	stage     the verified image on a device's storage, not yet active
//	READY     a vote: roots recomputed from storage, stage durable; binds the device until decision or release
//	approval  a person's signed agreement to COMMIT, which the decision carries and each device checks
//	brake     the server's HOLD: COMMIT only permits, and who has not logged ACTIVATING stops
//	pause     a HOLD in which the server decides and sends nothing either; a person puts it on, or too many failures do
//	floors    sequence and epoch below which a device never goes again; raised by COMMITTED only
package commit
