package manifest

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
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
	return writeNew(name+".key", fmt.Sprintf("# multicast upgrade: group key, for members only\n%s:%s:%s:%s\n",
		privateWord, RoleGroup, algGroup, base64.RawURLEncoding.EncodeToString(k[:])), 0o600)
}

// LoadGroupKey reads a key file that WriteFile wrote. The error is ErrKeyExposed if others than the owner may read the file
// (not checked on Windows), ErrKeyRole if the key is for another purpose, and ErrKeyFormat if it is no key.
func LoadGroupKey(path string) (k GroupKey, err error) {
	word, info, err := readKeyFile(path)
	if err != nil {
		return k, err
	}
	fields := strings.Split(word, ":")
	switch {
	case len(fields) == 3 && Role(fields[0]).valid():
		return k, roleError(path, Role(fields[0]), RoleGroup)
	case len(fields) != 4 || fields[0] != privateWord:
		return k, fmt.Errorf("%s: %w", path, ErrKeyFormat)
	case fields[1] != string(RoleGroup) && Role(fields[1]).valid():
		return k, roleError(path, Role(fields[1]), RoleGroup)
	}
	if err := checkExposure(info); err != nil {
		return k, fmt.Errorf("%s: %w", path, err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(fields[3])
	if err != nil || len(raw) != len(k) || fields[1] != string(RoleGroup) || fields[2] != algGroup {
		return k, fmt.Errorf("%s: %w: want %s:%s:%s and %d bytes in base64url", path, ErrKeyFormat, privateWord, RoleGroup, algGroup, len(k))
	}
	return GroupKey(raw), nil
}
