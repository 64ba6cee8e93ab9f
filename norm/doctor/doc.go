// Package doctor finds out why multicast does or does not work between a sender and a receiver.
//
// [Examine] runs at the receiver. It first gathers what can be seen — of this host, and of a [Responder], which answers at the
// sender — and then judges it: each check is one function from what was observed to a [Finding].
//
// # Probes
//
// The two speak on the group and port of the NORM session, so that what hinders NORM hinders them. A message is 40 bytes, in
// network byte order, padded with zeros to the length under test:
//
//	 0  "NDOC"      its first four bits are 4, so that NORM nodes drop it: RFC 5740 has version 1 there
//	 4  version     1
//	 5  kind        beacon, question, answer, request, probe
//	 6  via         1 if it was sent to the group, 2 if by unicast
//	 7  TTL         what it was sent with (unicast answer: what the sender uses for the group)
//	 8  run         drawn by the receiver for each examination; 0 in a beacon
//	16  cookie      proves that the receiver got an answer
//	24  sequence    of a question or request, rising; a probe has that of its request
//	28  rate        of a burst, in bits per second / 1000: as asked for; in a probe, as granted
//	32  count       probes of a burst, likewise
//	34  size        UDP payload of a probe, in bytes
//	36  heard TTL   answer: least TTL of this run's questions that came by the group; 0: none came
//	37  heard       answer: 1 if one came by unicast
//	38  zero
//
// A Responder sends a beacon every half second. It answers a question to the group and by unicast. A request asks for probes to
// the group: of rising TTL (count 0), or count of a size at a rate.
//
// # Bounds
//
// A Responder is no amplifier. All it sends keeps below its rate. A unicast answer is as long as the shortest question. Probes go to
// the group only, and only if the request has a cookie, which is bound to its source address: bursts need the one that was sent
// to the group. It serves 64 sources, each 20 messages per second, at most 8 bursts of at most half a second wait.
package doctor
