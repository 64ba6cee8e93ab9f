// Package fleet is the core of a server that brings releases to many devices in many campaigns: what is behind the REST
// API, the page and the rendezvous of normsend serve.
//
// A [Server] works on a store, in which everything is before it is told to anybody. Several servers can work on one
// store: each campaign is led by the one that holds its lease, and when that ends another goes on with the campaign from
// the store, in the middle of a transfer or of a decision, to the same outcome. A leader that was paused and has lost its
// lease can write nothing more.
//
// # The life of a campaign
//
//	draft       a person writes its Spec, and changes it                       Create, Change
//	approved    another person has agreed to it, where the server asks so      Approve
//	scheduled   targets, policy and deadline are frozen; it waits for its start Start
//	running     announced, sent, voted on, decided, activated: an upgrade.Campaign of its own
//	closed      over, with a verdict; or given up before it ran
//
// COMMIT wants a person's agreement as well, unless the Spec says "auto": [Server.Commit]. Of two people of whom one
// commits and the other aborts, one wins, and the other gets an error that wraps [commit.ErrDecided].
//
// # Goroutines
//
// Methods of a Server may be called concurrently. Those about a running campaign are done by the goroutine that runs it.
// What is asked of a campaign that another server leads is refused with a [*NotLeaderError].
package fleet
