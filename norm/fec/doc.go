// Package fec holds the FEC schemes of NORM: how an object is cut into source blocks and symbols, and how
// parity symbols are made from the symbols of a block and used to rebuild lost ones.
//
// The words are those of the RFCs:
//
//	transfer length L         Partition.L          bytes of the object, at most 2^48-1
//	encoding symbol length E  Params.SegmentSize   bytes of a symbol; NORM's NormSegmentSize
//	maximum block length B    Params.MaxBlockLen   source symbols of the longest block
//	source block number SBN   uint32               which block of the object
//	encoding symbol id ESI    int                  0..k-1 are the source symbols of a block of k, k..n-1 its parity
//	max_n                     Scheme.Symbols       most encoding symbols a block can have
//
// [Partition] is the block partitioning algorithm of RFC 5052, Section 9.1. [Params] describes a scheme as the
// sender's FEC Object Transmission Information does, and [Params.Scheme] gives the [Scheme] itself: no-code
// (FEC Encoding ID 0, RFC 5445) or Reed-Solomon over GF(2^8) (ids 2 with m = 8 and 5, RFC 5510, and
// id 129 instance 0) and over GF(2^16) (id 2 with m = 16). Reed-Solomon codes come in dialects which do not
// understand each other's parity: see [Dialect].
//
// Symbols that somebody forged are found as long as there are others to spare ([Scheme].Locate), by the same codes.
//
// Nothing here starts goroutines, keeps the caller's buffers or allocates memory in steady state. Parameters
// are checked before anything is sized by them, so they may come from the network.
package fec
