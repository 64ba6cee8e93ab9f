package manifest

import "errors"

// What makes a signed document unusable. Every function that opens one gives
// either the whole document or one of these (wrapped, with the detail), never
// a partial result.
var (
	// ErrSignature: not enough valid signatures by trusted keys, or bytes that are not a signed document at all.
	ErrSignature = errors.New("signature does not hold")
	// ErrMalformed: signed by trusted keys, yet not a document this package would have written.
	ErrMalformed = errors.New("malformed document")
	// ErrUnsupported: a format version or a critical extension that this version does not know.
	ErrUnsupported = errors.New("unsupported format")
	// ErrExpired: the document's expiry has passed.
	ErrExpired = errors.New("expired")
	// ErrRollback: a sequence, epoch or serial below what was already accepted.
	ErrRollback = errors.New("older than what is already accepted")
	// ErrProduct: made for another product.
	ErrProduct = errors.New("made for another product")
	// ErrHardware: made for other hardware.
	ErrHardware = errors.New("not made for this hardware")
	// ErrTooLarge: longer than the limit for its kind; nothing was decoded.
	ErrTooLarge = errors.New("too large")
)

// What makes a key unusable.
var (
	// ErrKeyFormat: the text or file is not a key in the format that GenerateKey's keys are written in.
	ErrKeyFormat = errors.New("not a key")
	// ErrKeyRole: the key is for another purpose than the one asked for.
	ErrKeyRole = errors.New("key has another role")
	// ErrKeyExposed: the private key file can be read by others than its owner.
	ErrKeyExposed = errors.New("private key is readable by others")
)
