// Package upgrade joins the layers: discovery, NORM, the signed manifest and the two-phase commit. [Agent] is the device,
// [Campaign] the server.
//
// # The device
//
//	notice      the rendezvous announces a campaign: two signed documents                    agent_notice.go
//	refusal     wrong signature, product, hardware, age, no room: a NO, before any reception
//	reception   leaves come by multicast, each is verified as it arrives                     receive.go
//	tail        what multicast cannot bring is fetched by HTTP, with the same proofs         receive_tail.go
//	vote        the stage is read back from storage, hashed, shown to the verify hook        agent_jobs.go
//	decision    by notice, by multicast, or by asking: always the same signed bytes          agent_decision.go
//	activation  by a hook, or by renaming the images into DIR/current                        stage_install.go
//
// What the agent keeps lies beneath one directory:
//
//	lock                one agent at a time
//	commit.log          the log of the commit: votes, decisions, outcomes, floors
//	stage/ID/release    the signed manifest of a stage; ID begins its digest
//	stage/ID/session    the signed session description last followed
//	stage/ID/hashes     the leaf hashes
//	stage/ID/part/      images on their way, or kept as a cache of leaves
//	stage/ID/image/     images that were verified from storage
//	current/            the committed images, if no hook activates them
//	running             the signed manifest that was committed last
//	status              how far the agent is, for [Status]
package upgrade
