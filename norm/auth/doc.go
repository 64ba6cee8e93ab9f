// Package auth authenticates NORM packets by the EXT_AUTH header extension, as RFC 6584 says: a group-keyed MAC
// (HMAC-SHA-256, Section 5), an ECDSA signature of the sender (P-256 with SHA-256, Section 4), or both (Section 6). RSA
// signatures are not built: at the same strength they are six times as long.
//
// # Two directions
//
// What a sender sends (NORM_INFO, NORM_DATA, NORM_CMD) and what receivers answer (NORM_NACK, NORM_ACK) are protected
// apart, each with its own key, counter and replay windows. Keys of the MAC are derived from the group key (HKDF, RFC
// 5869), so that a packet of one direction proves nothing in the other. A sender signs if it has a private key; feedback
// is never signed, for a group of thousands would need as many keys. It has a MAC if there is a group key, and is else
// taken as it comes: a policy for groups where no secret can be shared, which leaves the sender open to forged requests.
//
// A group key is known to all members. It keeps strangers out and tells nothing about which member speaks: each can forge
// what the sender says, and what the other receivers say. Where that matters, let the sender sign.
//
// # Replay
//
// Each packet carries a 40-bit sequence number that begins with 1 (AR = 1). Who verifies keeps a window of the last 1,024
// numbers of each node. Packets left of it, and those that arrived already, are dropped before any cryptography; it moves
// only when the packet has proved genuine (Section 3.3.2).
//
// A sender that starts again begins anew with 1, under another instance_id, which the tag covers. Such a run is opened by a
// NORM_CMD(CC) alone, the first message of every sender (RFC 5740, Section 5.5.2.1): its send_time must be later than all
// that was heard of this node before. So a recorded session cannot be played to who has heard a later one, even where one
// key serves several. A node that nothing was heard of yet is opened likewise, and until then its packets are dropped.
// The clock of a sender must therefore not be set back between two runs. A receiver that starts again needs another
// NormNodeId, or it is not listened to before its numbers reach those of its last run.
package auth
