// Package wire encodes and decodes the messages of NORM, the NACK-Oriented Reliable Multicast
// protocol of RFC 5740: NORM_INFO, NORM_DATA, the seven kinds of NORM_CMD, NORM_NACK, NORM_ACK and
// NORM_REPORT, with their header extensions and quantized fields.
//
// # Parsing
//
// [Peek] tells a datagram's type and sender. Each message is a struct with a Parse method; a
// [Decoder] holds one of each and picks the right one. Parse checks every length once, so that
// nothing which walks the message afterwards can fail, and never allocates: byte slices in a parsed
// message ([Data.Payload], [Extensions], the lists) are views into the datagram, valid until the
// caller reuses it. A message may be reused for the next datagram. A failed Parse returns one of the
// sentinel errors of this package and leaves the message with some fields set; do not use them.
//
// Parse is strict about lengths and lenient about what later revisions may change: undefined flag
// bits and non-zero reserved fields are accepted, unknown header extensions skipped, and the bytes of
// an incomplete list entry at the end of a list ignored.
//
// # Encoding
//
// AppendBinary appends the encoded message to a buffer, allocating only if the buffer is too small.
// The payload always stands last, so a caller may leave Payload empty, append the header, and read
// the payload into the same buffer. [SetSequence] stamps the sequence number afterwards. On error the
// buffer is returned as it was.
//
// # Names
//
//	RFC 5740                             here
//	NormNodeId, source_id, server_id     NodeID
//	NormTransportId, object_transport_id TransportID
//	instance_id                          InstanceID
//	sequence, cc_sequence                Sequence, CCSequence
//	fec_id (FEC Encoding ID)             FECID
//	fec_payload_id                       PayloadID, RawPayloadID
//	source_block_number                  PayloadID.Block
//	source_block_len                     PayloadID.BlockLen
//	encoding_symbol_id                   PayloadID.Symbol
//	grtt, backoff, gsize                 SenderHeader.GRTT, Backoff, GroupSize
//	send_time, grtt_response             Timestamp
//	NormSegmentSize, segment_size        FTI.SegmentSize
//	NORM_CMD(REPAIR_ADV)                 RepairAdv, and likewise for the others
//
// The package does no I/O, keeps no clock and imports only the standard library.
package wire
