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
//	device.key          the device key, if the agent made it, and device.pub
//	commit.log          the log of the commit: votes, decisions, outcomes, floors
//	stage/ID/release    the signed manifest of a stage; ID begins its digest
//	stage/ID/session    the signed session description last followed
//	stage/ID/hashes     the leaf hashes
//	stage/ID/part/      images on their way, or kept as a cache of leaves
//	stage/ID/image/     images that were verified from storage
//	current/            the committed images, if no hook activates them
//	running             the signed manifest that was committed last
//	status              how far the agent is, for [Status]
//
// # The server
//
//	check       release, images, settings, port and socket, before anything is promised      campaign.go
//	plan        targets, policy and deadline are durable: the campaign exists                campaign_plan.go
//	hello       devices show themselves; the first so many may be the list                   campaign_backend.go
//	announce    the session description is signed, and published at the rendezvous           campaign_announce.go
//	send        hash list, images, and later the decision, repairable to the end             campaign_sender.go
//	vote        votes that wait share one write to the log                                   campaign_loop.go
//	decision    by policy, person or deadline; logged, signed, then told
//	outcome     who runs the new image, and who lags and why                                 campaign_status.go
//
// What a campaign keeps, a [State] keeps: package upgrade/store in a database, or else one directory, which [Control]
// looks at from other processes:
//
//	lock            one process at a time
//	campaign.json   what is frozen; the campaign exists once this does
//	log             the coordinator's log: plan, votes, decision, brake, outcomes
//	session.json    the serial of the session description last signed
//	control.json    address and token of the process that runs the campaign
package upgrade
