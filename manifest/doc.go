// Package manifest holds what is signed: the release manifest, which says what
// may run on a device, and the session description, which says where and how
// a campaign sends it; and the keys and signatures of both.
//
// # Trust
//
// Keys have roles. The release key says what may run, the server key where to
// listen and when to activate, the device key who is ready, the approver key
// that a person agreed. A key of one role is refused for another. Each
// signature is bound to its purpose by a context, which is not transmitted,
// so a message signed for one purpose is worth nothing for any other.
//
// Nothing is decoded before its signature holds but the framing, which is a
// few fixed places and lengths. Open, OpenSigned, OpenSession and Verify give
// either all of a document or an error, never a part.
//
// # Formats
//
// Both documents are CBOR maps with small integer keys in the deterministic
// encoding of RFC 8949, Section 4.2.1. One content has one encoding: anything
// else is refused after decoding, so a digest names a content. Unknown fields
// are refused. What is added to releases later goes into their extensions, of
// which those marked critical must be understood; any other change raises the
// format version.
//
// A signed message is a tagged COSE_Sign1 (RFC 9052) with alg -8 (EdDSA with
// Ed25519) and an 8-byte kid in the protected header, nothing in the
// unprotected one, and the context as external_aad. A kid begins the COSE Key
// Thumbprint (RFC 9679) of the key.
//
// A session description is one such message with the payload embedded. A
// signed release, the file fw.manifest, is the CBOR array
//
//	["multicast-upgrade manifest", payload : bstr, [+ signature : bstr]]
//
// whose signatures are such messages with the payload detached, one by each
// release key. All of them sign the same exact bytes, so signatures can be
// added by people who never meet; a device asks for m of the n keys it trusts.
//
// The leaf hashes of the images stand in neither. They form the hash list,
// the first object of a campaign, whose pieces the manifest's tree nodes confirm.
//
// # Sealed images
//
// Images may be encrypted before the release is signed; package seal does it.
// Then sizes, digests and trees are those of the ciphertext, and the critical
// extension "sealed-images" says what the plaintext is (Sealed). The file keys
// that open them are in neither document as they are: a session description
// has them wrapped (HPKE, RFC 9180) for groups of devices, whose keys are an
// Identity and its Recipient, and a campaign server gives them wrapped to
// single devices that ask.
package manifest
