// Package seal encrypts the images of a release, and opens them.
//
// A sealed image is a file in the age format, version 1 (age-encryption.org/v1; C2SP age.md): a header, and the plaintext in
// chunks of 64 KiB, each with ChaCha20Poly1305 under a key that is derived from the file key, so that it is read as a stream and
// a file that was cut off is found out. It is made once, before the release is signed, and is the same for every device and
// campaign: the Merkle tree, sizes and digests of the manifest are those of the ciphertext, which can lie anywhere and go to
// everybody. Beside them the manifest says what the plaintext is (manifest.Sealed).
//
// The age header usually carries the file key, wrapped for each who may open the file. Here it carries none: its one stanza says
// that the key comes another way, as it is another one for each campaign. A file of file keys, which WriteFileKeys of package
// manifest writes, goes to the campaign server; it wraps them with HPKE for groups, in the session description, or for single
// devices that ask (manifest.Recipient.Wrap). What is left in the header is its MAC, by which Check tells the right file key
// from a wrong one; it is in the manifest, so that a device knows before a byte is received.
//
// Whoever once had a file key opens that release for ever: who is put out of a group is so from the next release on, which is
// sealed anew and wrapped for a new seal key.
package seal
