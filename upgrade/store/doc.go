// Package store keeps what a fleet server knows in a database: releases with their images, devices, tokens, campaigns
// with all that their coordinators have promised, reports, and the audit trail.
//
// There are two databases, and one SQL text for both: SQLite in one file, for one server, and PostgreSQL, for several
// that stand in for each other. [Open] takes a URL and brings the tables up to date.
//
// # Promises
//
//   - What a method has returned without an error survives a power cut, but for [Store.SeeDevices],
//     [Store.ReportDevices], [Store.SaveNotice], [Store.CountWaiting], sessions, and the last use of a token: losing their
//     last second costs little, and syncing them would cost more.
//   - A campaign is led by who holds its [Lease]. Each lease has a higher epoch than all before it, and nothing of a
//     campaign's state ([CampaignState]) is written under an epoch that is not the last: a leader that was paused, cut
//     off or restored from a snapshot gets [ErrFenced]. Clocks only say when a lease may be taken over; whether
//     an old leader can still write does not depend on them.
//   - A wave has one decision: its row has campaign and wave as the key, and comes into the database in the
//     transaction of the record that decides.
//   - Of two people who change the same thing, one wins and the other gets [ErrConflict]: what can be changed has a
//     Revision, and a change names the one that it was made from.
//   - What a person does ([By]) is in the audit trail, in the same transaction as what it did.
//
// The store has no clock, but for [Store.KeepLease]: time is an argument. It makes no SQL from its arguments, and takes any text that is valid
// UTF-8 without NUL for what it is: text. Where a name has to be fit for a file or a page ([manifest.ValidName]), it
// refuses others with [ErrInvalid].
//
// All methods may be called concurrently.
package store
