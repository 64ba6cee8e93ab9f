package manifest

import (
	"crypto/rand"
	"fmt"
)

// RoleGroup is what a key file says that holds a group key, which is neither private nor public: all members share it.
const RoleGroup Role = "group"

// algGroup names what a group key is for in its text form: keys of packet authentication are derived from it.
const algGroup = "hkdf-sha256"

// A GroupKey is the secret that the members of a NORM session authenticate packets with (RFC 6584).
type GroupKey [32]byte

// GenerateGroupKey returns a random key.
func GenerateGroupKey() (k GroupKey) {
	rand.Read(k[:]) // never fails
	return k
}

// String keeps the key out of logs and messages.
func (k GroupKey) String() string { return "group key (secret)" }

// GoString does the same for %#v.
func (k GroupKey) GoString() string { return k.String() }

// Format holds it for every other verb, such as %x.
func (k GroupKey) Format(f fmt.State, _ rune) { fmt.Fprint(f, k.String()) }

// WriteFile writes the key to name.key, readable by its owner only. It never overwrites: if the file exists, the error
// satisfies errors.Is(err, fs.ErrExist).
func (k GroupKey) WriteFile(name string) error {
	return writeNew(name+".key", secretText(RoleGroup, algGroup, "group key, for members only", k[:]), 0o600)
}

// LoadGroupKey reads a key file that WriteFile wrote. The error is ErrKeyExposed if others than the owner may read the file
// (not checked on Windows), ErrKeyRole if the key is for another purpose, and ErrKeyFormat if it is no key.
func LoadGroupKey(path string) (k GroupKey, err error) {
	raw, err := loadSecret(path, RoleGroup, algGroup)
	if err != nil {
		return k, err
	}
	if len(raw) != len(k) {
		return k, fmt.Errorf("%s: %w: want %d bytes", path, ErrKeyFormat, len(k))
	}
	return GroupKey(raw), nil
}
