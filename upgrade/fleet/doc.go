// Package fleet is the core of a server that brings releases to many devices in many campaigns: what is behind the REST
// API, the page and the rendezvous of normsend serve.
//
// A [Server] works on a [store.Store], in which everything is before it is told to anybody. Several servers can work on
// one store: each campaign is led by the one that holds its lease, and when that ends another goes on with the campaign
// from the store, in the middle of a transfer or of a decision, to the same outcome. A leader that was paused and has lost
// its lease can write nothing more.
//
// # The life of a campaign
//
//	draft       a person writes its settings, and changes them               Create, Change
//	            another person agrees, where the settings ask for two        Approve
//	scheduled   targets, keys and group are its own; it waits for its start   Start
//	running     announced, sent, voted on, decided, activated: wave by wave   an upgrade.Campaign
//	paused      the same, and nothing is sent or decided                      Pause, or too many failures; Resume, Abort
//	closed      over, with a verdict; or given up before it was announced     Discard
//
// COMMIT wants a person's agreement as well where the settings say "ask": [Server.Commit]. Of two people of whom one
// commits and the other aborts, one wins, and the other gets an error that wraps [commit.ErrDecided].
//
// What needs no more than the store, such as tokens, the audit trail, or lists of releases, devices and campaigns, the
// API asks of the store itself.
//
// # Goroutines
//
// Methods of a Server may be called concurrently. Those about a running campaign are done by the goroutine that runs it.
//
// # Several servers
//
// Devices and people may use any server. What is for a campaign that another one leads goes there, once (peer.go says how
// and why); if that one does not answer, the error is a [*NotLeaderError]. What a leader announces, and what devices report,
// is in the store: each server tells devices, and the next leader goes on from there.
package fleet
