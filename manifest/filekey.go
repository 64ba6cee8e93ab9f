package manifest

import (
	"errors"
	"fmt"
)

// ErrNoKey is returned when nothing that a device has opens a sealed image.
var ErrNoKey = errors.New("no key opens the sealed images")

// A FileKey is the secret that one sealed image is encrypted with: the file key of the age format, 128 bits.
type FileKey [16]byte

// String keeps the key out of logs and messages.
func (k FileKey) String() string { return "file key (secret)" }

// GoString does the same for %#v.
func (k FileKey) GoString() string { return k.String() }

// Format holds it for every other verb, such as %x.
func (k FileKey) Format(f fmt.State, _ rune) { fmt.Fprint(f, k.String()) }

const (
	roleFileKeys Role = "file-keys"
	algFileKeys       = "age"
)

// WriteFileKeys writes the file keys of a release, in the order of its sealed images, to a file readable by its owner only:
// what a campaign server needs to give them to devices. It never overwrites: if the file exists, the error satisfies
// errors.Is(err, fs.ErrExist).
func WriteFileKeys(path string, keys []FileKey) error {
	return writeNew(path, secretText(roleFileKeys, algFileKeys, "file keys of sealed images, for the campaign server", joinKeys(keys)), 0o600)
}

// LoadFileKeys reads what WriteFileKeys wrote. Its errors are those of LoadPrivateKey.
func LoadFileKeys(path string) ([]FileKey, error) {
	raw, err := loadSecret(path, roleFileKeys, algFileKeys)
	if err != nil {
		return nil, err
	}
	keys, err := fileKeysOf(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keys, nil
}

// ParseFileKeys reads the content of a file that WriteFileKeys wrote. The error is ErrKeyFormat or ErrKeyRole.
func ParseFileKeys(text []byte) ([]FileKey, error) {
	word, err := keyWord(text)
	if err != nil {
		return nil, err
	}
	raw, err := secretOf(word, roleFileKeys, algFileKeys)
	if err != nil {
		return nil, err
	}
	return fileKeysOf(raw)
}

func fileKeysOf(raw []byte) ([]FileKey, error) {
	keys, err := splitKeys(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: want 1 to %d file keys of %d bytes", ErrKeyFormat, MaxImages, len(FileKey{}))
	}
	return keys, nil
}

// joinKeys writes keys one after the other, splitKeys reads them.
func joinKeys(keys []FileKey) (b []byte) {
	for _, k := range keys {
		b = append(b, k[:]...)
	}
	return b
}

func splitKeys(b []byte) (keys []FileKey, err error) {
	if n := len(b) / len(FileKey{}); n < 1 || n > MaxImages || len(b)%len(FileKey{}) != 0 {
		return nil, fmt.Errorf("%w: %d bytes of file keys", ErrNoKey, len(b))
	}
	for len(b) > 0 {
		keys = append(keys, FileKey(b[:len(FileKey{})]))
		b = b[len(FileKey{}):]
	}
	return keys, nil
}
