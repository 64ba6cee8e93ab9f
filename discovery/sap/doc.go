// Package sap is the Session Announcement Protocol (RFC 2974): packets, an [Announcer] that repeats the description of
// one session on the group of its scope, and a [Listener] that keeps what is announced there.
//
// Neither has a socket, a goroutine or a clock: the caller hands them datagrams and the time, sends what Poll returns, and
// calls again at Deadline.
//
// Nothing that SAP brings is authentic. RFC 2974 has an authentication header, whose PGP and CMS formats nobody deploys;
// it is passed over here, and never counts as proof. What is announced is a hint to be checked elsewhere.
//
// Encrypted packets are refused ("NOT RECOMMENDED", Section 7), and so are compressed ones, which would have a stranger
// say how much memory they take.
package sap
