// Package discovery is the HTTP rendezvous: how a device hears of a campaign, tells how it fares, and fetches what
// multicast could not bring it. Beside it are announcements by SAP, which make a device ask there ([Announcement], [Hints]),
// and the pools that the groups of campaigns come from ([Pool]).
//
// It moves bytes and believes none of them: the manifest, the session description, decisions and votes are signed, and
// whoever receives them checks the signature. TLS with the server's own key ([ServerTLS], [ClientTLS]) keeps others from
// reading along, and from taking the place of the rendezvous.
//
//	GET  /v1/roots/{version}                     a signed root document; 404: there is none (yet)
//	POST /v1/hello                               Hello: the device shows itself
//	GET  /v1/notice?device=ID&wait=25            Notice: what is announced, to this device or to all; a long poll with
//	                                             ETag and 304. 503 with Retry-After: come back later; Poll-Spread:
//	                                             poll again within so many seconds
//	POST /v1/status                              Status: how far the device is, unsigned
//	POST /v1/vote, /v1/outcome                   Statement: a vote or outcome for the commit
//	GET  /v1/campaigns/{id}/decision/{wave}      the signed decision; 204 not decided; 404 unknown, which never means ABORT
//	POST /v1/campaigns/{id}/decision/{wave}      a signed decision the server may have lost
//	GET  /v1/campaigns/{id}/brake                the signed HOLD or RESUME last given; 204 none
//	GET  /v1/campaigns/{id}/objects/{toi}        an object's bytes, with ranges (RFC 9110, Section 14)
//
// Bodies are CBOR in deterministic encoding, or the signed bytes themselves. Errors are problem documents (RFC 9457).
package discovery
