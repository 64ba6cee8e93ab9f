// Package manifest holds what is signed: the release manifest, which says what
// may run on a device, the session description, which says where and how a
// campaign sends it, and the keys and signatures of both.
package manifest
