// Package web is the page of a fleet server, for the people who upgrade devices with it.
//
// Everything is rendered by the server with html/template, so that what devices and people have written is text and
// nothing else, and works without JavaScript, but for what needs it: progress that moves, plots, and the count of targets
// while somebody writes. There is no build step, and nothing is fetched from elsewhere: the few files in static are in the
// binary.
//
// # Who may do what
//
// A person logs in with the secret of a token; the role of the token ([store.Role]) says what the person may do. What one
// may not do is not shown, and refused when it is asked for all the same. The token is looked up for each request: one that
// is revoked ends its sessions at once.
//
//	viewer    looks
//	operator  and uploads releases, approves and enrols devices, makes, starts, commits, pauses, holds and aborts campaigns
//	approver  and approves campaigns of others
//	admin     and gives and revokes tokens
//
// It is one table for page and REST API: each path of the page stands for an operation of the API, and needs its role.
// Sessions are in the store: a person is logged in at every server on it.
//
// # Other sites
//
// The cookie of a session is HttpOnly and SameSite=Strict. [http.CrossOriginProtection] refuses what another site has a
// browser send. The Content-Security-Policy allows scripts and styles from the server's own files alone, and no frames.
package web
