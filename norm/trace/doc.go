// Package trace reads, writes and decodes captures of NORM traffic.
//
// A [Reader] takes pcap and pcapng files from any source, [ParseFrame] finds the UDP datagram in a frame, and a [Decoder]
// says what NORM message it holds, as a line of text or as JSON. A [Recorder] is given to a session, and writes all its
// datagrams and events into a pcapng file that Wireshark and this package read.
//
// Files come from strangers: lengths are checked before memory is taken, no block or packet may be longer than 1 MiB, and
// an error says at which byte of the file it stands.
package trace
