// Package tftp is a read-only TFTP server: RFC 1350, revision 2, with the options of RFC 2347, blksize (RFC 2348), and timeout
// and tsize (RFC 2349). It is for devices that can do nothing else, such as phones and boot loaders, which ask for an image
// by its name; everything else is refused or not answered.
//
// TFTP knows no source but the sender's address, which can be forged. So nothing is sent beyond one block, at most three
// times, until somebody acknowledges; all transfers together, and those of one address, are bounded; what is malformed
// gets no answer.
package tftp
