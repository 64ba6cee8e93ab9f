// Package cc is the arithmetic of NORM-CC, the TCP-friendly congestion control of RFC 5740, Section 5.5.2, which adapts
// TFMCC (RFC 4654) and with it TFRC (RFC 5348). It knows no messages: a [Receiver] is told of packets and says what
// rate its path bears, a [Controller] is told what receivers say and says how fast to send.
//
// Rates are in bytes per second and sizes in bytes, both with the headers of IP and UDP, since that is what shares a
// link with TCP.
//
// # Glossary
//
// The RFC's name, and ours: R_sender [Controller].Rate; S size; T_rtt RTT; p Loss, the loss event fraction; CLR the current
// limiting receiver; PLR a potential one; cc_sequence Sequence; Seq_sender - Seq_clr the age of feedback.
package cc
